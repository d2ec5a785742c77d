"""Put on PYTHONPATH by foreach.py: adds up how long each process of a flow waits for HTTP answers, and notes it when it ends."""
import atexit
import os
import time

import requests

spent = 0.0
calls = 0
send = requests.Session.send


def timed(self, request, **options):
    global spent, calls
    began = time.monotonic()
    try:
        return send(self, request, **options)
    finally:
        spent += time.monotonic() - began
        calls += 1


def note():
    with open(os.environ["DAYBOOK_LOAD_TIMES"], "a") as file:
        file.write(f"{time.monotonic() - began} {spent} {calls}\n")


began = time.monotonic()
requests.Session.send = timed
atexit.register(note)

"""What a service holds before load.py measures it: made over its own API, the same for each."""
import json
import re
import socket
import threading
import urllib.parse
import uuid
from concurrent.futures import ThreadPoolExecutor

RUNS = 500
CONNECTIONS = 16
SYSTEM_TAGS = ["runtime:dev", "python_version:3.11.7", "user:bench", "metaflow_version:2.19.39"]
DESCRIPTION = {"user_name": "bench", "tags": ["bench:1", "team:ml"], "system_tags": SYSTEM_TAGS}
ARTIFACT = {**DESCRIPTION, "location": ":root:/data/metaflow", "ds_type": "local", "sha": "194108c8f4", "type": "metaflow.artifact"}
NAMES = ["name", "art_1", "art_2", "art_3", "art_4"]


class Client:
    """Posts over one connection that stays open. The standard library's clients take several times the processor time."""

    def __init__(self, url):
        place = urllib.parse.urlparse(url)
        self.connection = socket.create_connection((place.hostname, place.port), timeout=60)

    def post(self, path, body):
        text = json.dumps(body)
        head = f"POST {path} HTTP/1.1\r\nHost: load\r\nContent-Type: application/json\r\nContent-Length: {len(text)}\r\n\r\n"
        self.connection.sendall((head + text).encode())
        received = b""
        while b"\r\n\r\n" not in received:
            received += self.receive()
        head, answer = received.split(b"\r\n\r\n", 1)
        length = int(re.search(rb"(?i)content-length: *(\d+)", head).group(1))
        while len(answer) < length:
            answer += self.receive()
        if b" 200 " not in head.split(b"\r\n")[0]:
            raise SystemExit(f"POST {path}: {received.decode()}")
        return json.loads(answer)

    def receive(self):
        part = self.connection.recv(65536)
        if not part:
            raise SystemExit("the service closed a connection")
        return part


class Seed:
    """Makes what is measured. Each list has one (flow, run, step, task) for each object that requests go to."""

    def __init__(self, url, few, many, flows):
        self.url, self.clients = url, threading.local()
        with ThreadPoolExecutor(CONNECTIONS) as self.pool:
            # What is written and what is read stand in different runs, so that lists keep their length.
            written = [self.run("work") for _ in range(flows)]
            read = self.run("few", "many")
            self.writes = self.tasks([(*written[index % flows], "work") for index in range(max(few // 2, flows))])
            self.few = self.tasks([(*read, "few")] * few)
            self.many = self.tasks([(*read, "many")] * many)
            list(self.pool.map(self.artifacts, self.few))
            runs = self.pool.map(lambda _: self.post(f"/flows/{read[0]}/run", DESCRIPTION)["run_number"], range(RUNS))
            self.runs = [(read[0], run, "-", "-") for run in runs]

    def post(self, path, body):
        if not hasattr(self.clients, "own"):
            self.clients.own = Client(self.url)
        return self.clients.own.post(path, body)

    def run(self, *steps):
        """A flow with one run and these steps."""
        flow = f"Load{uuid.uuid4().hex[:8]}"
        self.post(f"/flows/{flow}", {})
        run = self.post(f"/flows/{flow}/run", DESCRIPTION)["run_number"]
        for step in steps:
            self.post(f"/flows/{flow}/runs/{run}/steps/{step}/step", DESCRIPTION)
        return flow, run

    def tasks(self, places):
        make = lambda place: self.post("/flows/{}/runs/{}/steps/{}/task".format(*place), DESCRIPTION)["task_id"]
        return [(*place, task) for place, task in zip(places, self.pool.map(make, places))]

    def artifacts(self, task):
        self.post("/flows/{}/runs/{}/steps/{}/tasks/{}/artifact".format(*task), [{**ARTIFACT, "name": name} for name in NAMES])

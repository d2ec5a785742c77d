#!/usr/bin/env python3
"""Measures a rebuild: how fast its parts are, what it costs those who read meanwhile, and how long a switch holds them up.

    rebuild.py --daybook target/release/daybook [--runs 40000]
    rebuild.py --daybook target/release/daybook --kafka kafka://… --postgres postgres://… --elasticsearch http://… [--runs 40000]

Loads runs over the bulk API (20 events each; half of the runs belong to one flow), then rebuilds alone. Prints events/s of the
load, documents/s of the index, the time of verification and the memory of the process; on PostgreSQL, COPY of the same rows
into tables with the same indexes beside it. A second rebuild runs while a client reads one list after the other. Then its
generation is promoted and rolled back under writers and readers, for what a switch adds to a request. --processes starts
more processes that share the load. Needs psql for PostgreSQL. Nothing is asserted."""
import argparse
import http.client
import json
import random
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

from catch_up import post, stop
from processes import resident_mib, start, start_service
from search import events_of, wait_for_search, TASKS

RUNS_A_REQUEST, SMALL_FLOWS, LOOK = 500, 50, 0.05


def load(base, runs):
    """Half of the runs belong to one flow."""
    dice, task, events = random.Random(1), 1, 0
    began = time.monotonic()
    flows = ["Large"] + [f"Small{n}" for n in range(SMALL_FLOWS)]
    for flow in flows:
        post(base, f"/flows/{flow}", "{}")
    for first in range(0, runs, RUNS_A_REQUEST):
        lines = []
        for run in range(first + 1, min(first + RUNS_A_REQUEST, runs) + 1):
            flow = "Large" if run % 2 else flows[1 + run % SMALL_FLOWS]
            lines += [json.dumps({"type": kind, "event": event}) for kind, event in events_of(flow, run, task, dice)]
            task += TASKS
        answer = post(base, "/api/v1/events", "\n".join(lines) + "\n")
        if answer["rejected"]:
            raise SystemExit(f"lines were rejected: {str(answer)[:500]}")
        events += len(lines)
    print(f"loaded        {events} events, {events / (time.monotonic() - began):.0f} events/s over the bulk API", flush=True)
    return events


class Requests:
    """One client that sends requests one after the other on one connection, and keeps what each took."""

    def __init__(self, base, make):
        self.place, self.make, self.stopped = urllib.parse.urlparse(base).netloc, make, threading.Event()
        self.took, self.failures = [], []
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        connection = http.client.HTTPConnection(self.place, timeout=60)
        while not self.stopped.is_set():
            method, path, body = self.make()
            began = time.monotonic()
            try:
                connection.request(method, path, body, {"Content-Type": "application/json"} if body else {})
                answer = connection.getresponse()
                content = answer.read()
                if answer.status >= 300:
                    self.failures.append(f"{answer.status} {content[:200].decode(errors='replace')}")
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                self.failures.append(repr(error))
            self.took.append((began, time.monotonic() - began))

    def end(self):
        self.stopped.set()
        self.thread.join()
        return self.took


def at(took, share):
    times = sorted(seconds for _, seconds in took)
    return times[min(int(len(times) * share), len(times) - 1)] * 1000 if times else float("nan")


def shown(took):
    return f"{len(took)} requests, p50 {at(took, 0.5):.1f} ms, p99 {at(took, 0.99):.1f} ms, p99.9 {at(took, 0.999):.1f} ms, longest {at(took, 1):.1f} ms"


def reads(base, runs):
    dice = random.Random(2)

    def read():
        run = dice.randrange(runs // 2) * 2 + 1
        return "GET", f"/flows/Large/runs/{run}/steps/end/tasks", None
    return Requests(base, read)


def follow(base, rebuild, look):
    """Seconds of each state of a rebuild until it is ready. `look` is called with its progress again and again."""
    seconds, before = {}, time.monotonic()
    while True:
        with urllib.request.urlopen(f"{base}/api/v1/rebuilds/{rebuild}") as answer:
            progress = json.load(answer)
        state, now = progress["state"], time.monotonic()
        seconds[state] = seconds.get(state, 0) + now - before
        before = now
        look(progress)
        if state not in ("planned", "loading", "indexing", "tailing", "verifying"):
            if state != "ready":
                raise SystemExit(f"the rebuild is {progress}")
            return seconds
        time.sleep(LOOK)


def rebuild(base, pids):
    """Seconds of each state of a rebuild, and the most memory that a process had."""
    memory = [0] * len(pids)

    def look(_):
        memory[:] = map(max, memory, map(resident_mib, pids))

    begun = post(base, "/api/v1/rebuilds", "{}")
    return begun["generation"], follow(base, begun["rebuild"], look), memory


def copy_seconds(postgres, schema):
    """Rows of all tables of a schema, and seconds of a COPY of them into tables with the same indexes."""
    def psql(sql):
        command = ["psql", postgres, "-qAt", "-v", "ON_ERROR_STOP=1", "-c", f"SET search_path = {schema}", "-c", sql]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()

    tables = psql(f"SELECT tablename FROM pg_tables WHERE schemaname = '{schema}'")
    rows, seconds = 0, 0
    with tempfile.TemporaryDirectory() as folder:
        for table in tables:
            count = int(psql(f"SELECT COUNT(*) FROM {table}")[0])
            if count == 0 or table in ("checkpoints", "search_checkpoints"):
                continue
            rows += count
            psql(f"\\copy {table} TO '{folder}/{table}'")
            psql(f"CREATE TABLE copied_{table} (LIKE {table} INCLUDING ALL)")
            began = time.monotonic()
            psql(f"\\copy copied_{table} FROM '{folder}/{table}'")
            seconds += time.monotonic() - began
            psql(f"DROP TABLE copied_{table}")
    return rows, seconds


def switch(base, path):
    """When a switch began and what it took, and how many were withdrawn before it."""
    withdrawn = 0
    while True:
        since = time.monotonic()
        try:
            post(base, path, "{}")
            return (since, time.monotonic() - since), withdrawn
        except urllib.error.HTTPError as error:
            if error.code != 409:
                raise
            withdrawn += 1


def switches(base, generation, count):
    """Promotes and rolls back under writers and readers."""
    post(base, "/flows/Writes", "{}")
    writers = [Requests(base, lambda: ("POST", "/flows/Writes/run", "{}")) for _ in range(4)]
    readers = [Requests(base, lambda: ("GET", "/flows/Writes", None)) for _ in range(4)]
    time.sleep(3)
    began, took, withdrawn = time.monotonic(), [], 0
    for number in range(count):
        switched, again = switch(base, f"/api/v1/generations/{generation if number % 2 == 0 else 1}/promote")
        took.append(switched)
        withdrawn += again
    ended = time.monotonic()
    for name, clients in (("writes", writers), ("reads", readers)):
        all_took = [one for client in clients for one in client.end()]
        failed = sum(len(client.failures) for client in clients)
        print(f"{name:<13} idle: {shown([one for one in all_took if one[0] < began])}")
        print(f"              switching: {shown([one for one in all_took if began <= one[0] < ended])}, {failed} failed")
    print(f"switches      {count}, p50 {at(took, 0.5):.0f} ms, longest {at(took, 1):.0f} ms, {withdrawn} withdrawn", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--daybook", required=True)
    parser.add_argument("--kafka")
    parser.add_argument("--postgres")
    parser.add_argument("--elasticsearch")
    parser.add_argument("--runs", type=int, default=40_000)
    parser.add_argument("--rebuilds", type=int, default=1)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--switches", type=int, default=20)
    parser.add_argument("--only", choices=["load", "all"], default="all")
    given = parser.parse_args()
    name = f"rebuild_{time.time_ns()}"
    with tempfile.TemporaryDirectory() as folder:
        if given.kafka:
            options = ["--log", f"{given.kafka}/{name}", "--tables", given.postgres, "--tables-schema", name]
            options += ["--search", f"{given.elasticsearch}/{name}" if given.elasticsearch else "off"]
        else:
            options = ["--data-dir", folder]
        service = start_service("daybook", given.daybook, options, given.processes)
        base, pids = service.urls[0], [process.pid for process in service.processes]
        try:
            events = load(base, given.runs)
            if not given.kafka or given.elasticsearch:
                _, documents = wait_for_search(base)
            else:
                documents = 0
            for _ in range(given.rebuilds):
                generation, seconds, memory = rebuild(base, pids)
                print("states        " + ", ".join(f"{state} {taken:.2f} s" for state, taken in seconds.items()))
                filled = seconds["loading"]
                print(f"tables        {events / filled:.0f} events/s, {given.processes} processes")
                if documents:
                    print(f"documents     {documents / seconds['indexing']:.0f} documents/s of {documents}")
                print(f"verification  {seconds['verifying'] / sum(seconds.values()):.2f} of the rebuild")
                print(f"memory        {memory} MiB")
                post(base, f"/api/v1/generations/{generation}/cancel", "{}")
            if given.postgres:
                rows, copied = copy_seconds(given.postgres, f"{name}_metaflow_g0001")
                print(f"COPY          {rows} rows in {copied:.1f} s with the same indexes: the load is {copied / filled:.2f} of it", flush=True)
            if given.only == "load":
                return
            idle = reads(base, given.runs)
            time.sleep(5)
            idle = idle.end()
            reading = reads(base, given.runs)
            generation, _, _ = rebuild(base, pids)
            reading = reading.end()
            print(f"reads         idle: {shown(idle)}")
            print(f"              rebuilding: {shown(reading)}: p99 is {at(reading, 0.99) / at(idle, 0.99):.1f} times")
            switches(base, generation, given.switches)
        finally:
            for process in service.processes:
                stop(process)


if __name__ == "__main__":
    main()

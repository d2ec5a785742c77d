"""A collection of generated records on a daybook of its own: what refresh.py measures."""
import json
import pathlib
import random
import subprocess
import time
import urllib.request
from dataclasses import dataclass, field

from catch_up import post
from clean import record
from processes import busy_seconds, memory_mib, own_processor_seconds, start, stop
from rebuild import follow
from search import get, start_recorder

NAME = "image"
DOMAIN = f"collection.{NAME}"
RECORDS = f"/api/v1/collections/{NAME}/records"
SEARCH = f"/api/v1/collections/{NAME}/search"
DEFINITION = """
collection = "image"
key = "identifier"
preset = "openverse-image"
[fields]
identifier = { type = "uuid", required = true }
title = { type = "text", max_length = 5000, on_long = "truncate" }
creator = { type = "text", max_length = 2000 }
license = { type = "text", max_length = 50 }
provider = { type = "text", max_length = 80 }
source = { type = "text", max_length = 80 }
width = "int"
height = "int"
url = { type = "text", max_length = 1000 }
creator_url = { type = "text", max_length = 2000 }
foreign_landing_url = { type = "text", max_length = 1000 }
tags = "json"
standardized_popularity = "double"
meta_data = "json"
[filtered]
terms = "sensitive@latest"
"""
TERMS, OTHER_TERMS = "heron7\n", "heron7\nreed9\n"
# The first records have a title of their own, by which one search finds them all.
MARKED, MARK = 50, "lantern"
CHANGED_OF = 100


@dataclass
class Files:
    """All records, and each hundredth of them with another title."""

    records: pathlib.Path
    changes: pathlib.Path

    def __init__(self, folder, count):
        self.records, self.changes = pathlib.Path(folder) / "records.ndjson", pathlib.Path(folder) / "changes.ndjson"
        dice = random.Random(1)
        with open(self.records, "w") as records, open(self.changes, "w") as changes:
            for number in range(count):
                made = record(number, dice)
                if number < MARKED:
                    made["title"] = MARK
                records.write(json.dumps(made) + "\n")
                if number % CHANGED_OF == CHANGED_OF - 1:
                    changes.write(json.dumps({**made, "title": f"changed {made['title']}"}) + "\n")


@dataclass
class Refreshed:
    """What a refresh took by state: seconds, processor seconds of daybook and of the whole machine, anonymous memory at most.
    And memory, as `memory_mib` has it, before and at most, and how long it paused for slow reads, in percent of its work."""

    pid: int
    generation: int = 0
    seconds: dict = field(default_factory=dict)
    daybook: dict = field(default_factory=dict)
    machine: dict = field(default_factory=dict)

    def __post_init__(self):
        self.before = self.most = memory_mib(self.pid)
        self.anonymous, self.pause_percent, self.spent = {}, 0, self.spent_now()

    def spent_now(self):
        return own_processor_seconds(self.pid), busy_seconds()

    def look(self, progress):
        state, now = progress["state"], self.spent_now()
        self.pause_percent = max(self.pause_percent, progress["pause_percent"])
        for of, last, new in zip((self.daybook, self.machine), self.spent, now):
            of[state] = of.get(state, 0) + new - last
        memory = memory_mib(self.pid)
        self.spent, self.most = now, list(map(max, self.most, memory))
        self.anonymous[state] = max(self.anonymous.get(state, 0), memory[1])

    @property
    def total(self):
        return sum(self.seconds.values())

    def share(self, state):
        return self.seconds.get(state, 0) / self.total

    def states(self):
        """Each state that took time, with how many processors were busy meanwhile: daybook's, and all."""
        shown = [(state, taken) for state, taken in self.seconds.items() if taken >= 0.01]
        busy = lambda state, taken: f"{self.daybook[state] / taken:.1f} of {self.machine[state] / taken:.1f}"
        paused = f"; pauses of up to {self.pause_percent} %" if self.pause_percent else ""
        return ", ".join(f"{state} {taken:.2f} s ({busy(state, taken)})" for state, taken in shown) + paused


class Collection:
    """The collection, on a process of its own."""

    def __init__(self, daybook, options, search):
        self.daybook, self.options, self.search = daybook, options, search
        self.start(search)
        self.put("/api/v1/term-lists/sensitive", TERMS)
        self.put(f"/api/v1/collections/{NAME}", DEFINITION)

    def start(self, search):
        self.process, self.base, _ = start(self.daybook, [*self.options, "--search", search])

    def stop(self):
        stop(self.process)

    def put(self, path, text):
        with urllib.request.urlopen(urllib.request.Request(self.base + path, text.encode(), method="PUT"), timeout=120) as answer:
            return json.load(answer)

    def run(self, *arguments):
        """Runs a command of daybook, and returns what it says."""
        command = [self.daybook, *arguments, "--collection", NAME, "--server", self.base, "--json"]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{' '.join(map(str, command))}: {done.returncode}\n{done.stdout}{done.stderr}")
        return json.loads(done.stdout)

    def set_other_terms(self):
        self.put("/api/v1/term-lists/sensitive", OTHER_TERMS)

    def import_file(self, path):
        return self.run("import", "file", str(path))

    def found(self, query=""):
        return get(self.base, f"{SEARCH}?limit=0&{query}")["total"]

    def wait_until_found(self, count, query=""):
        """Seconds until a search finds so many records."""
        began = time.monotonic()
        while self.found(query) != count:
            if time.monotonic() - began > 600:
                raise SystemExit(f"{self.found(query)} records are found by {query!r}, not {count}")
            time.sleep(0.05)
        return time.monotonic() - began

    def refresh(self, seen=lambda progress: None):
        """Builds the next generation of the log as it is, and waits until it is ready. `seen` is called with its progress,
        again and again."""
        refreshed = Refreshed(self.process.pid)

        def look(progress):
            refreshed.look(progress)
            seen(progress)

        began = time.monotonic()
        begun = self.run("refresh", "start", "--no-promote", "--no-wait")
        refreshed.generation, refreshed.seconds = begun["generation"], {"planned": time.monotonic() - began}
        look({"state": "planned", "pause_percent": 0})
        for state, taken in follow(self.base, begun["rebuild"], look).items():
            refreshed.seconds[state] = refreshed.seconds.get(state, 0) + taken
        return refreshed

    def path(self, generation, change):
        return f"/api/v1/generations/{generation}/{change}?domain={DOMAIN}"

    def promote(self, generation):
        post(self.base, self.path(generation, "promote"), "{}")

    def cancel(self, generation):
        post(self.base, self.path(generation, "cancel"), "{}")

    def report(self, generation):
        return get(self.base, self.path(generation, "report"))

    def live(self):
        return next(it for it in get(self.base, f"/api/v1/generations?domain={DOMAIN}") if it["state"] == "live")

    def recorded(self, target):
        """The bulk requests that build the index of the live tables."""
        recorder = start_recorder(target)
        self.stop()
        self.start(f"http://127.0.0.1:{recorder.server_port}/{self.search.rsplit('/', 1)[1]}")
        # What the live index is sent again after a start is not of the build.
        time.sleep(2)
        recorder.RequestHandlerClass.bodies.clear()
        begun = post(self.base, f"/api/v1/rebuilds?domain={DOMAIN}", '{"only": "search"}')
        follow(self.base, begun["rebuild"], lambda _: None)
        bodies = list(recorder.RequestHandlerClass.bodies.values())
        self.cancel(begun["generation"])
        self.stop()
        recorder.shutdown()
        self.start(self.search)
        return bodies

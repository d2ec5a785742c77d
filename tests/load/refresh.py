#!/usr/bin/env python3
"""Measures a refresh of a collection: how fast its parts are, and what it costs those who read and write meanwhile.

    refresh.py --daybook target/release/daybook [--records 100000] [--own embedded]
    refresh.py --daybook target/release/daybook --kafka kafka://… --postgres postgres://… --elasticsearch http://… [--own network]

Makes records with 12 tags each (those of clean.py) of the preset openverse-image, and imports them. Then, each time alone:

- a first refresh of the log as it is: the rate of each part, the memory of the process (also split into anonymous memory
  and mapped pages of files), and the share of verification. On network stores, beside it: COPY of the same rows into tables
  with the same indexes, and a bare loader that sends the recorded bulk requests again.
- the same file once more, and a refresh without any change; then a file with each hundredth record changed.
- a refresh after a change of a term list, which builds the index alone.
- a refresh beside 200 reads a second, half of them searches, on eight connections. It is promoted and rolled back several
  times, also beside 50 writes a second. A time counts from when a request is sent.
- a refresh in which 50 records are taken down, one after the other; a search that asks all the time sees them go.

Each line begins with the measure of the specification that it is about. With --own both, embedded comes first. States have
the processors that were busy meanwhile: daybook's, of all. Runs with several --records show what memory depends on. Needs
psql for the network stores. Nothing is asserted."""
import argparse
import collections
import itertools
import json
import random
import tempfile
import threading
import time
import urllib.error
import urllib.parse

from catch_up import post
from clean import WORDS, id_of
from collection import MARK, MARKED, NAME, RECORDS, SEARCH, Collection, Files
from processes import memory_mib
from rebuild import Requests, at, copy_seconds, shown, switch
from search import bare_seconds, get, wait_for_rest

RECORDS_OF_OPENVERSE = 588_000_000
READS_A_SECOND, WRITES_A_SECOND, WARM_UP_SECONDS, QUIET_SECONDS = 200, 50, 2, 10
# How long after the answer to a switch a request may still wait for it.
AFTERMATH = 0.5


def say(measure, text):
    print(f"{measure:<4} {text}", flush=True)


def show_refresh(measure, what, refreshed):
    say(measure, f"{what}: {refreshed.total:.2f} s: {refreshed.states()}")


class Measurement:
    """One run, on one kind of stores."""

    def __init__(self, given, files, collection):
        self.given, self.files, self.collection, self.records = given, files, collection, given.records
        self.target = urllib.parse.urlsplit(collection.search).netloc

    def rest(self):
        """Waits until nothing of the measurement before goes on."""
        if self.target:
            wait_for_rest(self.target)
        time.sleep(2)

    def all(self):
        self.first_import()
        self.first_refresh()
        if self.target:
            self.against_bare_stores()
        self.without_change()
        self.changes()
        self.other_terms()
        self.beside_readers()
        self.takedowns()

    def first_import(self):
        self.imported = self.collection.import_file(self.files.records)["seconds"]
        late = self.collection.wait_until_found(self.records)
        say("", f"import: {self.records} records in {self.imported:.2f} s, {self.records / self.imported:.0f}/s; found {late:.2f} s later")

    def first_refresh(self):
        self.rest()
        self.first = self.collection.refresh()
        loading, indexing = (self.first.seconds[state] for state in ("loading", "indexing"))
        show_refresh("", "first refresh", self.first)
        say("P3", f"log to tables: {self.records / loading:.0f} events/s")
        say("P4", f"rows to documents: {self.records / indexing:.0f} documents/s")
        hours = self.first.total / self.records * RECORDS_OF_OPENVERSE / 3600
        say("P5", f"whole refresh: {self.records / self.first.total:.0f} records/s; 588 M records, linearly: {hours:.1f} hours")
        parts = lambda memory: "resident {}, anonymous {}, files {} MiB".format(*memory)
        say("P11", f"memory before: {parts(self.first.before)}; each at most: {parts(self.first.most)}")
        say("P11", "anonymous at most: " + ", ".join(f"{state} {mib} MiB" for state, mib in self.first.anonymous.items()))
        verified = self.collection.report(self.first.generation)["duration_ms"] / 1000
        say("P12", f"verification: {self.first.share('verifying'):.2f} of the refresh, {verified:.2f} s by its report")
        self.collection.promote(self.first.generation)

    def against_bare_stores(self):
        live = self.collection.live()
        rows, copied = copy_seconds(self.given.postgres, live["tables"])
        loading, indexing = (self.first.seconds[state] for state in ("loading", "indexing"))
        say("P3", f"COPY of the {rows} rows: {copied:.2f} s: the load is {copied / loading:.2f} of it")
        bodies = self.collection.recorded(self.target)
        sent, size = sum(body.count(b"\n") // 2 for body in bodies), sum(map(len, bodies)) / 1e6
        index = live["search"].rsplit(", ", 1)[1].removesuffix("-live")
        self.rest()
        bare = bare_seconds(self.target, index, bodies)
        say("P4", f"bare loader of {sent} documents, {size:.0f} MB: {bare:.2f} s: building is {bare / indexing:.2f} of it")
        say("P5", f"whole refresh: {self.first.total / (copied + bare):.2f} of COPY and bare loader together")

    def without_change(self):
        imported = self.collection.import_file(self.files.records)
        self.rest()
        second = self.collection.refresh()
        self.collection.cancel(second.generation)
        show_refresh("", "refresh without a change", second)
        say("P12", f"without a change: {second.total / self.first.total:.2f} of the first refresh; with the import of the same file "
            f"({imported['unchanged']} unchanged, {imported['seconds']:.2f} s) {self.with_import(second, imported):.2f} of both")

    def with_import(self, refreshed, imported):
        return (refreshed.total + imported["seconds"]) / (self.first.total + self.imported)

    def changes(self):
        imported = self.collection.import_file(self.files.changes)
        say("P6", f"import of {imported['upserted']} changed records alone: {imported['seconds']:.2f} s, "
            f"{imported['seconds'] / self.imported:.3f} of the full import")

    def other_terms(self):
        self.collection.set_other_terms()
        self.rest()
        refreshed = self.collection.refresh()
        show_refresh("", "refresh after a change of terms", refreshed)
        say("P7", f"after a change of terms: {refreshed.total / self.first.total:.2f} of the first refresh")
        self.collection.promote(refreshed.generation)

    def beside_readers(self):
        self.rest()
        clients = {kind: [paced(self.collection.base, READS_A_SECOND / 8, make(self.records)) for _ in range(4)] for kind, make in READS.items()}
        time.sleep(WARM_UP_SECONDS + QUIET_SECONDS)
        began = time.monotonic()
        before, refreshed = self.collection.live()["generation"], self.collection.refresh()
        clients["writes"] = [paced(self.collection.base, WRITES_A_SECOND / 2, changed_records(half)) for half in range(2)]
        time.sleep(QUIET_SECONDS / 2)
        switches = [self.switch(before if number % 2 else refreshed.generation) for number in range(self.given.switches)]
        time.sleep(AFTERMATH)
        took = {kind: [one for client in of_kind for one in client.end()] for kind, of_kind in clients.items()}
        failures = [f"{kind}: {failure}" for kind, of_kind in clients.items() for client in of_kind for failure in client.failures]
        show_refresh("", "refresh beside readers", refreshed)
        for kind in READS:
            show_beside(kind, took[kind], began)
        show_switches(switches)
        for kind in took:
            show_stall(kind, took[kind], switches)
        show_failures("P9", failures)

    def switch(self, generation):
        """When a switch began and what it took. Those that were withdrawn are said."""
        switched, withdrawn = switch(self.collection.base, self.collection.path(generation, "promote"))
        if withdrawn:
            say("P9", f"{withdrawn} promotions of generation {generation} were withdrawn")
        return switched

    def takedowns(self):
        self.rest()
        takedowns = Takedowns(self.collection.base, self.first.total * 0.8 / MARKED)
        refreshed = self.collection.refresh(takedowns.see)
        takedowns.join()
        show_refresh("", "refresh beside takedowns", refreshed)
        took = takedowns.took()
        self.collection.promote(refreshed.generation)
        say("P10", f"takedown until the live search does not find it: {shown(took)}; {takedowns.during} of {len(took)} while the refresh went on; "
            f"of them {self.collection.found(f'q={MARK}')} are found once it is live")
        show_failures("P10", takedowns.failures)


def paced(base, per_second, make):
    """A client that sends so many requests a second, or later those that it could not send in time."""
    due = time.monotonic() + random.random() / per_second

    def next_request():
        nonlocal due
        time.sleep(max(0, due - time.monotonic()))
        due += 1 / per_second
        return make()
    return Requests(base, next_request)


def points(records):
    return lambda: ("GET", f"{RECORDS}/{id_of(random.randrange(MARKED, records))}", None)


def searches(_):
    return lambda: ("GET", f"{SEARCH}?q={random.choice(WORDS)}{random.randrange(100)}&sensitive=false", None)


READS = {"points": points, "searches": searches}


def changed_records(half):
    """Writes of a hundred records, each time with another title."""
    numbers = itertools.count()

    def write():
        number = next(numbers)
        body = json.dumps({"title": f"changed {number}", "source": "eol", "url": "img.example/changed.jpg"})
        return "PUT", f"{RECORDS}/{id_of(MARKED + 2 * (number % 50) + half)}", body
    return write


def show_beside(kind, took, began):
    quiet, beside = [one for one in took if began - QUIET_SECONDS <= one[0] < began], [one for one in took if one[0] >= began]
    say("P9", f"{kind} quiet: {shown(quiet)}")
    say("P9", f"{kind} beside the refresh and its switches: {shown(beside)}: p99 is {at(beside, 0.99) / at(quiet, 0.99):.1f} times")


def show_failures(measure, failures):
    say(measure, f"{len(failures)} requests failed")
    for failure, count in collections.Counter(failures).most_common(5):
        say(measure, f"{count} {failure}")


def show_switches(switches):
    first, others = switches[0][1] * 1000, [switched for switched in switches[1:]]
    say("P9", f"first promotion {first:.0f} ms; {len(others)} switches back and forth: p50 {at(others, 0.5):.0f} ms, longest {at(others, 1):.0f} ms")


def show_stall(kind, took, switches):
    """The longest request that was under way in a switch, beside the longest of those in between."""
    is_in_switch = lambda one: any(one[0] < began + seconds + AFTERMATH and one[0] + one[1] > began for began, seconds in switches)
    inside = [one for one in took if is_in_switch(one)]
    before = [one for one in took if not is_in_switch(one) and one[0] > switches[0][0] - QUIET_SECONDS / 2]
    say("P9", f"{kind} in switches: longest {at(inside, 1):.0f} ms of {len(inside)}; before them: longest {at(before, 1):.0f} ms of {len(before)}")


class Takedowns:
    """Takes the marked records down, one after the other, and sees when a search finds each of them no more."""

    def __init__(self, base, pause):
        self.base, self.pause, self.during, self.state = base, pause, 0, "planned"
        self.answered, self.gone, self.failures = {}, {}, []
        self.threads = [threading.Thread(target=of, daemon=True) for of in (self.take_down, self.watch)]
        self.began = threading.Event()
        for thread in self.threads:
            thread.start()

    def see(self, progress):
        self.state = progress["state"]
        self.began.set()

    def take_down(self):
        self.began.wait()
        for number in range(MARKED):
            post(self.base, f"/api/v1/collections/{NAME}/takedowns", json.dumps({"ids": [id_of(number)], "reason": "licence"}))
            self.answered[id_of(number)] = time.monotonic()
            self.during += self.state != "ready"
            time.sleep(self.pause)

    def watch(self):
        self.began.wait()
        while len(self.gone) < MARKED:
            try:
                found = {hit["record_id"] for hit in get(self.base, f"{SEARCH}?q={MARK}&limit={MARKED}")["hits"]}
            except urllib.error.HTTPError as error:
                self.failures.append(f"searches: {error.code} {error.read()[:200].decode(errors='replace')}")
                continue
            now = time.monotonic()
            for number in range(MARKED):
                if id_of(number) not in found:
                    self.gone.setdefault(id_of(number), now)
            time.sleep(0.01)

    def join(self):
        for thread in self.threads:
            thread.join()

    def took(self):
        return [(answered, max(0, self.gone[record] - answered)) for record, answered in self.answered.items()]


def options_of(own, given, folder):
    """Options of a daybook of its own, and where its search is."""
    if own == "embedded":
        return ["--data-dir", folder], "embedded"
    name = f"refresh_{time.time_ns()}"
    stores = ["--data-dir", folder, "--log", f"{given.kafka}/{name}", "--tables", given.postgres, "--tables-schema", name]
    return stores, f"{given.elasticsearch}/{name}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--daybook", required=True)
    parser.add_argument("--own", default="embedded,network", help="stores that are measured (default: %(default)s)")
    parser.add_argument("--kafka")
    parser.add_argument("--postgres")
    parser.add_argument("--elasticsearch")
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--switches", type=int, default=10, help="promotions and roll backs (default: %(default)s)")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="daybook-load-") as folder:
        files = Files(folder, given.records)
        for own in given.own.split(","):
            if own == "network" and not given.kafka:
                continue
            print(f"-- {own}, {given.records} records of 12 tags, file of {files.records.stat().st_size / 1e6:.0f} MB", flush=True)
            options, search = options_of(own, given, f"{folder}/{own}")
            collection = Collection(given.daybook, options, search)
            try:
                Measurement(given, files, collection).all()
                say("", "memory at last: resident {}, anonymous {}, files {} MiB".format(*memory_mib(collection.process.pid)))
            finally:
                collection.stop()


if __name__ == "__main__":
    main()

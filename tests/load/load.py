#!/usr/bin/env python3
"""Measures daybook against Metaflow's own service, in one run on one machine, and prints ratios to the first service.

    load.py --baseline-source DIR --baseline-python PATH --baseline-database postgres://…/metaflow \\
            --daybook target/release/daybook [--kafka kafka://host:9092 --postgres postgres://…]
    load.py --baseline URL [NAME=URL[,URL…] …]

README.md beside this file says how to get Metaflow's own service and give it a database. Daybook runs in up to three ways:
`embedded`, and with --kafka and --postgres as `one` process and as `two` that share the load. A service that runs already is
given as NAME=URL; without --baseline the first service is what the others are compared with.

Rounds of all services alternate, there and back, so that noise of the machine falls on each alike. Figures are medians over
the rounds; a ratio is one of two figures of the same round, in brackets its least and greatest. Median and p99 are wrk's, in
milliseconds; errors are answers other than 2xx; others is how many processors everything else on this machine took, what is
not watched too. cpu is processor time for a request in microseconds: of the service's processes, then of each that --watch
names. Nothing is asserted: the figures are for people. Needs wrk (Debian's package)."""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.parse
import uuid

from data import Seed
from processes import Service, busy_seconds, get, network_options, processor_seconds, resident_mib, start_baseline, start_service, stop

HERE = pathlib.Path(__file__).resolve().parent
# Group, operation, what its requests go to, clients.
POINTS = [
    *[("writes", "create_run", "writes", clients) for clients in (16, 64)],
    *[("writes", operation, "writes", 64) for operation in ("create_task", "artifacts5", "metadata10")],
    ("writes", "heartbeat", "many", 64),
    *[("alone", f"create_{kind}", "writes", 1) for kind in ("flow", "run", "step", "task")],
    *[("alone", operation, "writes", 1) for operation in ("artifacts5", "metadata10", "mutate_tags")],
    ("alone", "heartbeat", "many", 1),
    ("reads", "get_run", "runs", 16),
    *[("reads", operation, "few", 16) for operation in ("get_task", "get_artifact")],
    ("lists", "list_tasks", "few", 16),
    *[("lists", operation, where, 1) for operation, where in (("list_tasks", "many"), ("list_artifacts", "few"))],
]
# A heart is beaten once in ten seconds: an earlier beat is refused by Metaflow's service.
BEAT_SECONDS = 11


class Target:
    """A service with what it holds."""

    def __init__(self, service, given):
        self.service, self.beaten = service, 0
        self.hosts = [urllib.parse.urlparse(url).netloc for url in service.urls]
        self.seed = Seed(service.urls[0], given.few, given.many, given.flows)

    def wrk(self, operation, where, clients, seconds):
        """Starts wrk; several processes share the load, but one client has one of them."""
        hosts = self.hosts if clients >= len(self.hosts) else self.hosts[:1]
        if operation == "heartbeat":
            time.sleep(max(0, self.beaten + BEAT_SECONDS - time.monotonic()))
        objects = tempfile.NamedTemporaryFile("w", prefix="daybook-load-")
        objects.writelines(" ".join(map(str, it)) + "\n" for it in getattr(self.seed, where))
        objects.flush()
        script = ["-s", HERE / "operations.lua", f"http://{hosts[0]}", "--", operation, objects.name, uuid.uuid4().hex[:6], *hosts]
        command = ["wrk", f"-t{len(hosts)}", f"-c{clients}", f"-d{seconds}s", "--timeout", "60s", *script]
        process = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        # wrk reads the file when it starts; it is there for as long as the process.
        process.objects = objects
        return process

    def load(self, operation, where, clients, seconds):
        output = self.wrk(operation, where, clients, seconds).communicate()[0]
        self.beaten = time.monotonic() if operation == "heartbeat" else self.beaten
        line = next((line for line in output.splitlines() if line.startswith("JSON")), None)
        if line is None:
            sys.exit(f"wrk failed: {output}")
        return json.loads(line[4:])

    def sample(self, point, given, beside):
        """One measurement, with the processor time that each process took."""
        group, operation, where, clients = point
        other = beside and self.wrk(beside, "few", 1, given.seconds + 2)
        if other:
            # The other client is at work when the first of its answers, of many objects, is on its way.
            time.sleep(1)
        # Last this process and what has ended of its children: wrk.
        watched = [[process.pid for process in self.service.processes], *([pid] for pid in given.watch)]
        spent = lambda: [*(sum(map(processor_seconds, pids)) for pids in watched), sum(os.times()[:4]), busy_seconds()]
        before, began = spent(), time.monotonic()
        # Enough of lists that take a part of a second each.
        found = self.load(operation, where, clients, given.seconds * (2 if group == "lists" else 1))
        *known, busy = (now - then for now, then in zip(spent(), before))
        others = (busy - sum(known)) / (time.monotonic() - began)
        if other:
            other.communicate()
        cpu = [seconds / max(found["requests"], 1) * 1e6 for seconds in known[:-1]]
        rate = found["requests"] / found["seconds"]
        if group == "lists" and found["requests"]:
            # Those under way at the end are not counted, which may be most of them: by Little's law the rate is this.
            rate = clients / found["mean_ms"] * 1000
        return {**found, "rate": rate, "cpu": cpu, "others": others}


def of_first(samples, first, field):
    """A ratio with its spread."""
    ratios = [one[field] / other[field] for one, other in zip(samples, first) if other[field]]
    if not ratios:
        return "-"
    median = statistics.median(ratios)
    return f"{median:.{2 if median < 10 else 0}f} ({min(ratios):.3g}..{max(ratios):.3g})"


def show(point, name, samples, first):
    """One line: medians over the rounds, errors of all."""
    _, operation, where, clients = point
    fields = ("rate", "p50_ms", "p99_ms", "others")
    rate, p50, p99, others = (statistics.median(it[field] for it in samples) for field in fields)
    errors = sum(it["errors"] for it in samples)
    cpu = "+".join(f"{statistics.median(parts):.0f}" for parts in zip(*(it["cpu"] for it in samples)))
    ratios = ["" if samples is first else of_first(samples, first, field) for field in ("rate", "p50_ms", "p99_ms")]
    figures = f"{rate:>8.0f} {p50:>8.2f} {p99:>8.2f} {errors:>6} {others:>6.2f}  {ratios[0]:<20} {ratios[1]:<20} {ratios[2]:<20} {cpu}"
    print(f"{operation:<15} {where:<6} {clients:>4} {name:<10} {figures}", flush=True)


def measure(points, targets, given):
    print(
        f"{'operation':<15} {'where':<6} {'cl.':>4} {'service':<10} {'per s':>8} {'p50 ms':>8} {'p99 ms':>8} {'errors':>6} {'others':>6}"
        f"  {'rate, ratio':<20} {'p50, ratio':<20} {'p99, ratio':<20} cpu"
    )
    for point in points:
        besides = [None, given.beside] if given.beside else [None]
        samples = {(target, beside): [] for target in targets for beside in besides}
        for turn in range(given.rounds):
            for target in targets if turn % 2 == 0 else reversed(targets):
                if given.warm_up and turn == 0 and point[1] != "heartbeat":
                    target.load(*point[1:], given.warm_up)
                for beside in besides:
                    samples[target, beside].append(target.sample(point, given, beside))
        for (target, beside), found in samples.items():
            name = target.service.name + ("+" if beside else "")
            show(point, name, found, samples[targets[0], None])


def resident(service):
    return " + ".join(f"{resident_mib(process.pid)} MiB" for process in service.processes)


def start_services(given, folder):
    """The services that are measured, the one that others are compared with first."""
    services = [Service("original", [given.baseline])] if given.baseline else []
    if given.baseline_source:
        services.append(start_baseline("original", given.baseline_source, given.baseline_python, given.baseline_database))
    services += [Service(name, urls.split(",")) for name, urls in (it.split("=", 1) for it in given.running)]
    own = given.own.split(",") if given.daybook else []
    extra = given.daybook_options.split()
    if "embedded" in own:
        services.append(start_service("embedded", given.daybook, ["--data-dir", folder, *extra]))
    for count, name in enumerate(["one", "two"], 1):
        if name in own and given.kafka:
            options = network_options(given.kafka, given.postgres)
            services.append(start_service(name, given.daybook, [*options, *extra], count))
    for service in services:
        if any(urllib.parse.urlparse(url).hostname not in ("127.0.0.1", "localhost") for url in service.urls):
            sys.exit(f"{service.name} is not on loopback")
        version = get(service.urls[0], "/version").strip()
        print(f"{service.name}: version {version} of the API", end="")
        if service.processes:
            print(f", ready after {service.start_ms:.0f} ms, resident {resident(service)}", end="")
        print(flush=True)
    return services


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("running", nargs="*", metavar="NAME=URL[,URL…]", help="services that run already")
    parser.add_argument("--baseline", metavar="URL", help="Metaflow's own service, running")
    parser.add_argument("--baseline-source", metavar="DIR", help="a checkout of it, to start")
    parser.add_argument("--baseline-python", metavar="PATH", help="the Python that has what it needs", default="python3")
    parser.add_argument("--baseline-database", metavar="URL", help="its database, migrated")
    parser.add_argument("--daybook", type=lambda path: str(pathlib.Path(path).absolute()), metavar="PATH")
    parser.add_argument("--own", default="embedded,one,two", help="ways that daybook runs in (default: %(default)s)")
    parser.add_argument("--daybook-options", default="--search off", help="(default: %(default)s: the original has no search)")
    parser.add_argument("--kafka", metavar="URL")
    parser.add_argument("--postgres", metavar="URL")
    parser.add_argument("--only", default="writes,alone,reads,lists", help="groups or operations (default: %(default)s)")
    parser.add_argument("--clients", help="in place of each point's own, as in 1,256")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=3, help="of one measurement; lists take twice that")
    parser.add_argument("--warm-up", type=int, default=1, help="seconds of load before the first round of a point")
    parser.add_argument("--few", type=int, default=2000, help="tasks with five artifacts each, in a step that is read")
    parser.add_argument("--many", type=int, default=10_000, help="tasks in another step; their hearts are beaten")
    parser.add_argument("--flows", type=int, default=1, help="flows that writes are spread over; 1 is one hot flow")
    parser.add_argument("--beside", metavar="OPERATION", help="measure again next to one client that repeats this, as list_artifacts")
    parser.add_argument("--watch", type=int, nargs="*", default=[], metavar="PID", help="of the database and the broker, for cpu")
    return parser.parse_args()


def main():
    given = arguments()
    wanted = given.only.split(",")
    points = [point for point in POINTS if point[0] in wanted or point[1] in wanted]
    if given.clients:
        points = list(dict.fromkeys((*point[:3], int(clients)) for point in points for clients in given.clients.split(",")))
    with tempfile.TemporaryDirectory(prefix="daybook-load-") as folder:
        services = start_services(given, folder)
        try:
            measure(points, [Target(service, given) for service in services], given)
        finally:
            for service in services:
                if service.processes:
                    memory, seconds = resident(service), [stop(process) for process in service.processes]
                    print(f"{service.name}: resident {memory}, stopped in {' '.join(f'{it * 1000:.0f} ms' for it in seconds)}")


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Measures services of Metaflow's metadata API side by side, in one run on one machine, and prints ratios to the first.

    load.py NAME=URL [NAME=URL ...] [--seconds 6] [--warm-up 3] [--clients 1,64] [--tasks 2000] [--flows 1] [--rounds 1]
            [--only create_task,get_run] [--beside step_artifacts] [--processes NAME=PID[,PID...] ...]

Each URL is a service on loopback: a daybook, the stand-in of reference.py, or Metaflow's own service. With --beside, each
operation is measured alone and again next to one client that repeats another operation without a pause. With --processes, the
processor time that each process and its children took for one request is shown in microseconds, and the memory resident in the
first. Needs wrk (Debian's package) and nothing else.
Operations of all services alternate, so that noise of the machine falls on each alike; with --rounds, they do so that often at
each point, there and back, and medians are shown, of ratios too, each of two figures of one round. Each point is measured after
a warm-up of its own: a broker that has just started compiles its code for the first minute of load. Nothing is asserted: the
figures are for people. Median and p99 are wrk's, in milliseconds; errors are answers other than 2xx."""
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
import urllib.request
import uuid
from concurrent.futures import ThreadPoolExecutor

HERE = pathlib.Path(__file__).resolve().parent
SYSTEM_TAGS = ["runtime:dev", "python_version:3.11.7", "user:bench", "metaflow_version:2.19.39"]
DESCRIPTION = {"user_name": "bench", "tags": ["bench:1", "team:ml"], "system_tags": SYSTEM_TAGS}
WRITES = ["create_run", "create_task", "artifacts5", "metadata10", "heartbeat"]
READS = ["ping", "get_run", "get_task", "get_artifact", "get_metadata", "tasks_page", "list_tasks", "step_artifacts"]


def post(base, path, body):
    request = urllib.request.Request(base + path, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def seed(base, tasks, flows=1):
    """Flows with one run and one step each, and tasks over them in turn, with five artifacts and ten metadata entries each.
    Returns a file with flow, run and task a line."""
    runs = []
    for index in range(flows):
        flow = f"Load{uuid.uuid4().hex[:8]}"
        post(base, f"/flows/{flow}", {})
        run = post(base, f"/flows/{flow}/run", DESCRIPTION)["run_number"]
        post(base, f"/flows/{flow}/runs/{run}/steps/work/step", DESCRIPTION)
        runs.append((flow, run))

    def task(index):
        flow, run = runs[index % flows]
        step = f"/flows/{flow}/runs/{run}/steps/work"
        made = post(base, f"{step}/task", DESCRIPTION)["task_id"]
        names = ["name", "art_1", "art_2", "art_3", "art_4"]
        artifact = {"location": ":root:/data/metaflow", "ds_type": "local", "sha": "194108c8f4", "type": "metaflow.artifact"}
        post(base, f"{step}/tasks/{made}/artifact", [{**DESCRIPTION, **artifact, "name": name} for name in names])
        fields = [f"field_{index}" for index in range(10)]
        metadata = {"value": "some value", "type": "t", "tags": ["attempt_id:0"]}
        post(base, f"{step}/tasks/{made}/metadata", [{**metadata, "field_name": field} for field in fields])
        return f"{flow} {run} {made}\n"

    with ThreadPoolExecutor(16) as pool, tempfile.NamedTemporaryFile("w", prefix="daybook-load-", delete=False) as file:
        file.writelines(pool.map(task, range(tasks)))
    return file.name


def command_of(base, data, operation, clients, seconds):
    arguments = [operation, data, uuid.uuid4().hex[:6]]
    command = ["wrk", "-t1", f"-c{clients}", f"-d{seconds}s", "--timeout", "60s", "-s", HERE / "operations.lua", base, "--"]
    return [*command, *map(str, arguments)]


def measure(base, data, operation, clients, seconds, beside=None):
    other = None
    if beside:
        command = command_of(base, data, beside, 1, seconds + 3)
        other = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        # The other client is at work when the first of its answers, of many rows, is on its way.
        time.sleep(1)
    command = command_of(base, data, operation, clients, seconds)
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 120)
    if other:
        other.wait(timeout=120)
    line = next((line for line in done.stdout.splitlines() if line.startswith("JSON")), None)
    if line is None:
        sys.exit(f"wrk failed: {done.stdout}{done.stderr}")
    return json.loads(line[4:])


def stat(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return None


def processor_seconds(pid):
    """Of a process, the children that it has, and those that it had."""
    found = [stat(pid), *(stat(other) for other in os.listdir("/proc") if other.isdigit())]
    own = sum(map(int, found[0][11:15]))
    children = sum(int(other[11]) + int(other[12]) for other in found[1:] if other and int(other[1]) == pid)
    return (own + children) / os.sysconf("SC_CLK_TCK")


def resident_mib(pid):
    return int(stat(pid)[21]) * os.sysconf("SC_PAGE_SIZE") >> 20


def sample(base, data, operation, clients, given, pids, beside):
    """One measurement, with the processor seconds that each process took."""
    before = list(map(processor_seconds, pids))
    found = measure(base, data, operation, clients, given.seconds, beside)
    spent = [processor_seconds(pid) - at for pid, at in zip(pids, before)]
    memory = resident_mib(pids[0]) if pids else ""
    return {**found, "rate": found["requests"] / found["seconds"], "spent": spent, "memory": memory}


def show(operation, clients, name, samples, first):
    """One line: medians over the rounds, errors of all."""
    rate, p50, p99 = (statistics.median(it[field] for it in samples) for field in ("rate", "p50_ms", "p99_ms"))
    ratios = [it["rate"] / of_first["rate"] if of_first["rate"] else float("nan") for it, of_first in zip(samples, first)]
    requests, errors = (sum(it[field] for it in samples) for field in ("requests", "errors"))
    cpu = "+".join(f"{sum(seconds) / max(requests, 1) * 1e6:.0f}" for seconds in zip(*(it["spent"] for it in samples)))
    print(
        f"{operation:<15} {clients:>7} {name:<12} {rate:>9.0f} {p50:>8.2f} {p99:>8.2f} {errors:>7}"
        f" {statistics.median(ratios):>7.2f}  {cpu:<16} {samples[-1]['memory']:>4}",
        flush=True,
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("services", nargs="+", metavar="NAME=URL")
    parser.add_argument("--seconds", type=int, default=6)
    parser.add_argument("--warm-up", type=int, default=3, help="seconds of load before each point")
    parser.add_argument("--rounds", type=int, default=1, help="times that each point is measured; medians are shown")
    parser.add_argument("--clients", default="1,64")
    parser.add_argument("--tasks", type=int, default=2000)
    parser.add_argument("--flows", type=int, default=1, help="flows that the tasks are spread over; 1 is one hot flow")
    parser.add_argument("--beside", choices=READS, help="measure again next to one client that repeats this operation")
    parser.add_argument("--only", default=",".join(WRITES + READS))
    parser.add_argument("--processes", nargs="*", default=[], metavar="NAME=PID[,PID...]")
    given = parser.parse_args()
    services = dict(service.split("=", 1) for service in given.services)
    processes = {name: list(map(int, pids.split(","))) for name, pids in (it.split("=", 1) for it in given.processes)}
    for url in services.values():
        if urllib.parse.urlparse(url).hostname not in ("127.0.0.1", "localhost"):
            sys.exit(f"{url} is not on loopback")
    seeded = {name: seed(url.rstrip("/"), given.tasks, given.flows) for name, url in services.items()}
    print(f"{'operation':<15} {'clients':>7} {'service':<12} {'per s':>9} {'p50 ms':>8} {'p99 ms':>8} {'errors':>7} {'ratio':>7}  {'cpu us':<16} {'MiB':>4}")
    for operation in given.only.split(","):
        for clients in map(int, given.clients.split(",")):
            samples = {(name, beside): [] for name in services for beside in dict.fromkeys([None, given.beside])}
            names = list(services)
            for turn in range(given.rounds):
                for name in names if turn % 2 == 0 else reversed(names):
                    point = services[name].rstrip("/"), seeded[name], operation, clients
                    if given.warm_up and turn == 0:
                        measure(*point, given.warm_up)
                    for beside in dict.fromkeys([None, given.beside]):
                        samples[name, beside].append(sample(*point, given, processes.get(name, []), beside))
            for (name, beside), of_name in samples.items():
                show(operation + ("+" if beside else ""), clients, name, of_name, samples[names[0], None])
    for data in seeded.values():
        pathlib.Path(data).unlink()


if __name__ == "__main__":
    main()

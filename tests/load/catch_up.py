#!/usr/bin/env python3
"""Measures how fast new tables are filled from a log that is there, against PostgreSQL's COPY of the same rows.

    catch_up.py --daybook target/release/daybook --kafka kafka://host:9092/prefix --postgres postgres://… [--events 1000000]
    catch_up.py --daybook target/release/daybook [--events 1000000]                             the embedded log and tables

Loads the log with tasks over the bulk API, then starts a process with empty tables and waits until it is ready: that is
the catching up. Then it starts it once more, with the tables there, for the time from start to ready and the memory of an
idle process. COPY fills a table with the same columns and indexes. Needs psql. Nothing is asserted."""
import argparse
import json
import pathlib
import subprocess
import tempfile
import time
import urllib.request

from processes import resident_mib, start, stop

LINES_A_REQUEST = 20_000


def post(base, path, body):
    with urllib.request.urlopen(urllib.request.Request(base + path, body.encode(), method="POST"), timeout=600) as answer:
        return json.load(answer)


def load(base, events):
    for path, body in [("/flows/Load", "{}"), ("/flows/Load/run", "{}"), ("/flows/Load/runs/1/steps/work/step", "{}")]:
        post(base, path, body)
    event = {"flow_id": "Load", "run_number": 1, "step_name": "work", "user_name": "ann", "tags": ["a"], "system_tags": ["user:ann"]}
    line = json.dumps({"type": "TaskRegistered", "event": event}) + "\n"
    for first in range(0, events, LINES_A_REQUEST):
        answer = post(base, "/api/v1/events", line * min(LINES_A_REQUEST, events - first))
        if answer["rejected"]:
            raise SystemExit(f"lines were rejected: {answer}")


def copy_seconds(postgres, schema, events):
    """Seconds of a COPY of the tasks into a table with the same indexes."""
    with tempfile.NamedTemporaryFile(suffix=".copy") as rows:
        def psql(sql):
            command = ["psql", postgres, "-q", "-v", "ON_ERROR_STOP=1", "-c", f"SET search_path = {schema}", "-c", sql]
            subprocess.run(command, check=True)

        psql(f"\\copy tasks TO '{rows.name}'")
        psql("CREATE TABLE copied (LIKE tasks INCLUDING ALL)")
        began = time.monotonic()
        psql(f"\\copy copied FROM '{rows.name}'")
        return time.monotonic() - began


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--daybook", required=True)
    parser.add_argument("--kafka")
    parser.add_argument("--postgres")
    parser.add_argument("--events", type=int, default=1_000_000)
    given = parser.parse_args()
    name = f"catch_up_{time.time_ns()}"
    folder = tempfile.TemporaryDirectory()
    if given.kafka:
        options = ["--log", f"{given.kafka}/{name}", "--tables", given.postgres, "--tables-schema"]
        first, second = [*options, name], [*options, f"{name}_2"]
    else:
        first = second = ["--data-dir", folder.name]
    process, base, _ = start(given.daybook, first)
    began = time.monotonic()
    load(base, given.events)
    print(f"loaded    {given.events / (time.monotonic() - began):>9.0f} events/s over the bulk API", flush=True)
    stop(process)
    if not given.kafka:
        for path in pathlib.Path(folder.name).glob("*"):
            if path.name.startswith(("control", "metaflow")):
                path.unlink()
    process, base, seconds = start(given.daybook, second)
    stop(process)
    print(f"caught up {given.events / seconds:>9.0f} events/s, in {seconds:.1f} s from start to ready", flush=True)
    if given.kafka:
        copied = copy_seconds(given.postgres, f"{name}_2_metaflow_g0001", given.events)
        print(f"COPY      {given.events / copied:>9.0f} rows/s with the same indexes: catching up is {copied / seconds:.2f} of it")
    process, base, seconds = start(given.daybook, second)
    time.sleep(3)
    print(f"restarted ready after {seconds * 1000:.0f} ms, {resident_mib(process.pid)} MiB resident when idle")
    stop(process)


if __name__ == "__main__":
    main()

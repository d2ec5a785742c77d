#!/usr/bin/env python3
"""Runs a real flow with a wide foreach against services of Metaflow's metadata API, one after another, and prints how long it
takes and how much of that its processes wait for the service.

    foreach.py NAME=URL [NAME=URL ...] [--width 500] [--workers 4] [--python target/python/bin/python]

The flow is tests/e2e/flows/demo.py, the client the real one, unmodified; its HTTP calls are timed from outside (timed/).
Nothing is asserted: the figures are for people."""
import argparse
import os
import pathlib
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
FLOW = HERE.parent / "e2e" / "flows" / "demo.py"


def run(python, url, width, workers):
    """Wall time, seconds of all processes, seconds that they waited for the service, calls."""
    with tempfile.TemporaryDirectory(prefix="daybook-foreach-") as home:
        times = pathlib.Path(home) / "times"
        environment = {name: value for name, value in os.environ.items() if not name.startswith("METAFLOW")}
        environment |= {
            "METAFLOW_DEFAULT_METADATA": "service",
            "METAFLOW_SERVICE_URL": url,
            "METAFLOW_DEFAULT_DATASTORE": "local",
            "METAFLOW_DATASTORE_SYSROOT_LOCAL": home,
            "METAFLOW_HOME": f"{home}/config",
            "METAFLOW_USER": "ann",
            "USERNAME": "ann",
            "PYTHONPATH": str(HERE / "timed"),
            "DAYBOOK_LOAD_TIMES": str(times),
        }
        command = [python, FLOW, "--quiet", "run", "--width", str(width), "--max-workers", str(workers)]
        began = time.monotonic()
        done = subprocess.run([*command, "--max-num-splits", str(width + 1)], cwd=home, env=environment, capture_output=True, text=True)
        wall = time.monotonic() - began
        if done.returncode:
            sys.exit(f"the flow failed against {url}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        rows = [[float(field) for field in line.split()] for line in times.read_text().splitlines()]
    return wall, *(sum(column) for column in zip(*rows))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("services", nargs="+", metavar="NAME=URL")
    parser.add_argument("--width", type=int, default=500)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--python", default=HERE.parent.parent / "target" / "python" / "bin" / "python")
    given = parser.parse_args()
    print(f"{'service':<12} {'wall s':>8} {'calls':>7} {'waited s':>9} {'a call ms':>10} {'share':>7}")
    for service in given.services:
        name, url = service.split("=", 1)
        wall, processes, waited, calls = run(pathlib.Path(given.python).absolute(), url, given.width, given.workers)
        share = waited / processes
        print(f"{name:<12} {wall:>8.1f} {calls:>7.0f} {waited:>9.1f} {waited / calls * 1000:>10.2f} {share:>6.1%}", flush=True)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Measures search: how fast documents are written and found, on the embedded index or on Elasticsearch.

    search.py --daybook target/release/daybook [--flows 50] [--runs 200]
    search.py --daybook target/release/daybook --kafka kafka://… --postgres postgres://… --elasticsearch http://… [--flows 50] [--runs 200]

Loads runs over the bulk API (20 documents each: the run, its step, 6 tasks, 12 artifacts; a tenth of the runs failed), waits until search has
them all, then builds the index anew from the rows. With Elasticsearch, what that build sent is recorded by a proxy, and a
bare loader sends it again to an index with the same mapping, for the ratio; each of the two, and the searches, begin when
Elasticsearch has no more to merge. Then searches are measured: wrk, 16 clients, a query a line with other words each time. One
question is asked the other way too, as Metaflow's client does today, and runs are created to see how
soon they are found. At last, runs with one tag in common are added, 10, 1 000 and 100 000 of them, and their tasks are searched by it; and one
tag of a run of 10 000 tasks is changed. --only tags leaves out all but that. Needs wrk. Nothing is asserted."""
import argparse
import concurrent.futures
import http.client
import http.server
import json
import pathlib
import random
import re
import shutil
import subprocess
import tempfile
import threading
import time
import urllib.parse
import urllib.request

from catch_up import post, start, stop
from load import processor_seconds

CLIENTS, SECONDS, TASKS, ARTIFACTS = 16, 8, 6, 2
USERS = [f"user{n}" for n in range(40)]
TEAMS = [f"team:{name}-{n}" for name in ("ml", "ops", "ads", "search") for n in range(5)]


def get(base, path, headers=None):
    with urllib.request.urlopen(urllib.request.Request(base + path, headers=headers or {}), timeout=120) as answer:
        return json.load(answer)


def events_of(flow, run, task, dice):
    """The events of one run; `task` is its first task's number."""
    user, ok = dice.choice(USERS), dice.random() > 0.1
    key = {"flow_id": flow, "run_number": run}
    tags = [dice.choice(TEAMS), f"exp.{dice.randrange(500)}"]
    yield "RunStarted", {**key, "user_name": user, "tags": tags, "system_tags": [f"user:{user}", "runtime:dev"]}
    yield "StepRegistered", {**key, "step_name": "end", "user_name": user}
    for number in range(task, task + TASKS):
        of_task = {**key, "step_name": "end", "task_id": number}
        yield "TaskRegistered", {**of_task, "user_name": user}
        artifact = {"location": "s3://bucket/key", "ds_type": "s3", "attempt_id": 0}
        yield "ArtifactsRegistered", {**of_task, "entries": [{**artifact, "name": f"model_{n}"} for n in range(ARTIFACTS)]}
        metadata = [("attempt_ok", str(ok)), ("gpu", f"A{dice.randrange(1, 9)}00"), ("host", f"node-{dice.randrange(300)}")]
        yield "MetadataRegistered", {**of_task, "entries": [{"field_name": f, "value": v, "type": "t"} for f, v in metadata]}


def load(base, flows, runs):
    dice, task = random.Random(1), 1
    for index in range(flows):
        flow = f"Flow{index}"
        post(base, f"/flows/{flow}", "{}")
        for first in range(0, runs, 500):
            lines = []
            for run in range(first, min(first + 500, runs)):
                for kind, event in events_of(flow, index * runs + run + 1, task, dice):
                    lines.append(json.dumps({"type": kind, "event": event}))
                task += TASKS
            answer = post(base, "/api/v1/events", "\n".join(lines) + "\n")
            if answer["rejected"]:
                raise SystemExit(f"lines were rejected: {str(answer)[:500]}")


def wait_for_search(base):
    """Seconds until search has everything, and how many documents that is."""
    began = time.monotonic()
    while True:
        status = get(base, "/api/v1/status")
        search = next(it["search"] for it in status["generations"] if it["domain"] == status["default_domain"])
        if search["lag_records"] == 0 and search["rebuilding_documents"] is None:
            return time.monotonic() - began, get(base, "/api/v1/search?limit=0")["total"]
        time.sleep(0.1)


class Recorder(http.server.BaseHTTPRequestHandler):
    """Passes requests on to Elasticsearch and keeps the bodies of bulk requests; one that is sent again is the same body."""

    protocol_version, target, bodies = "HTTP/1.1", None, {}

    def pass_on(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if "/_bulk" in self.path:
            self.bodies[hash(body)] = body
        connection = http.client.HTTPConnection(self.target, timeout=120)
        kept = {name: value for name, value in self.headers.items() if name.lower() in ("content-type", "accept")}
        connection.request(self.command, self.path, body, kept)
        answer = connection.getresponse()
        content = answer.read()
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.headers.get("Content-Type", "application/json"))
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_PUT = do_POST = do_DELETE = pass_on

    def log_message(self, *_):
        pass


def start_recorder(target):
    """Starts a proxy of Elasticsearch that records."""
    Recorder.target = target
    Recorder.bodies.clear()
    recorder = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Recorder)
    threading.Thread(target=recorder.serve_forever, daemon=True).start()
    return recorder


def call(target, method, path, body=None):
    connection = http.client.HTTPConnection(target, timeout=120)
    connection.request(method, path, body, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    content = json.loads(answer.read() or b"{}")
    if answer.status >= 300:
        raise SystemExit(f"{method} {path}: {answer.status} {str(content)[:400]}")
    return content


def send(target, body):
    """Sends a bulk request, again where Elasticsearch has no memory for it now."""
    while True:
        connection = http.client.HTTPConnection(target, timeout=120)
        connection.request("POST", "/bare/_bulk?filter_path=errors", body, {"Content-Type": "application/x-ndjson"})
        answer = connection.getresponse()
        content = answer.read()
        if answer.status < 300:
            return
        if answer.status != 429:
            raise SystemExit(f"bulk request: {answer.status} {content[:400]}")
        time.sleep(0.1)


def wait_for_rest(target):
    """Waits until Elasticsearch merges nothing any more, as it does for a while after a load."""
    began = time.monotonic()
    while time.monotonic() - began < 600:
        nodes = call(target, "GET", "/_nodes/stats/indices/merge")["nodes"].values()
        if not any(node["indices"]["merges"]["current"] for node in nodes):
            break
        time.sleep(0.5)


def rest(target):
    """Waits until Elasticsearch is at rest, and says how long that took."""
    began = time.monotonic()
    wait_for_rest(target)
    print(f"at rest   {time.monotonic() - began:>9.1f} s later", flush=True)


def bare_seconds(target, index, bodies):
    """Seconds that a loader takes to send bodies that are made already, three at a time, to an index of the same shape."""
    shape = call(target, "GET", f"/{index}")[index]
    kept = ("number_of_shards", "auto_expand_replicas", "refresh_interval", "sort", "max_result_window")
    settings = {name: value for name, value in shape["settings"]["index"].items() if name in kept}
    call(target, "PUT", "/bare", json.dumps({"settings": {"index": settings}, "mappings": shape["mappings"]}))
    began = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda body: send(target, body), bodies))
    call(target, "POST", "/bare/_refresh")
    seconds = time.monotonic() - began
    call(target, "DELETE", "/bare")
    return seconds


def rebuild(daybook, options, documents):
    """Starts a process whose index is gone, and prints how fast it is built from rows."""
    process, base, _ = start(daybook, options)
    began = time.monotonic()
    wait_for_search(base)
    seconds, cpu = time.monotonic() - began, processor_seconds(process.pid)
    print(f"built     {documents / seconds:>9.0f} documents/s from rows; daybook had {cpu / seconds / 2:.0%} of two processors", flush=True)
    return process, base, documents / seconds


QUERIES = {
    "word": "q=ml-%d",
    "tag and user": "type=run&user=user%d&tag=team:ops-2",
    "failed runs of a user, last week": "type=run&status=failed&user=user%d&from=-7d",
    "metadata of tasks": "type=task&q=metadata:node-%d+-status:completed",
    "prefix": "q=exp.%d*&type=run",
    "facets of a user": "q=user:user%d&facets=tag,flow,status&limit=0",
    "facets of everything": "facets=tag,user,status&limit=0&from=%d",
    "newest first": "sort=-created_at&limit=%d",
}


def measure(base, query):
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(f"""request = function() return wrk.format("GET", string.format("/api/v1/search?{query.replace('%d', '%d')}", math.random(1, 39))) end
done = function(s, l, r) io.write(string.format("%d %d %f %f %f\\n", s.requests, s.errors.status + s.errors.read + s.errors.timeout,
  s.duration / 1e6, l:percentile(50) / 1e3, l:percentile(99) / 1e3)) end""")
        script.flush()
        command = ["wrk", "-t1", f"-c{CLIENTS}", f"-d{SECONDS}s", "--timeout", "30s", "-s", script.name, base]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    requests, errors, seconds, p50, p99 = map(float, done.stdout.strip().splitlines()[-1].split())
    return requests / seconds, p50, p99, int(errors)


def as_metaflow_does(base, user, tag):
    """Failed runs of a user with a tag, found as the client does: every run of every flow, each looked at."""
    began, calls, found, size = time.monotonic(), 0, [], 0

    def fetch(path):
        nonlocal calls, size
        calls += 1
        with urllib.request.urlopen(base + path, timeout=120) as answer:
            text = answer.read()
        size += len(text)
        return json.loads(text)

    for flow in fetch("/flows"):
        for run in fetch(f"/flows/{flow['flow_id']}/runs"):
            if run["user_name"] == user and tag in run["tags"]:
                path = f"/flows/{run['flow_id']}/runs/{run['run_number']}/metadata"
                entries = [entry for entry in fetch(path) if entry["field_name"] == "attempt_ok"]
                if any(entry["value"] == "False" for entry in entries):
                    found.append(run["run_number"])
    return time.monotonic() - began, calls, size, sorted(map(int, found))


def visible(base, count=40):
    """Prints how long after its creation was answered a run is found by searches that do not ask for its position."""
    seconds = []
    for _ in range(count):
        tag = f"seen-{time.time_ns()}"
        post(base, "/flows/Flow0/run", json.dumps({"user_name": "ann", "tags": [tag]}))
        began = time.monotonic()
        while get(base, f"/api/v1/search?type=run&tag={tag}&limit=0")["total"] == 0:
            time.sleep(0.005)
        seconds.append(time.monotonic() - began)
        time.sleep(random.random() / 2)
    seconds.sort()
    print(f"a run is found without asking after {seconds[count // 2]:.2f} s (median), {seconds[-1]:.2f} s (slowest of {count})")


def ask_both_ways(base):
    user, tag = "user7", "team:ml-3"
    began = time.monotonic()
    answer = get(base, f"/api/v1/search?type=run&status=failed&user={user}&tag={tag}&from=-7d&limit=500")
    seconds = time.monotonic() - began
    found = sorted(hit["run"] for hit in answer["hits"])
    other, calls, size, expected = as_metaflow_does(base, user, tag)
    same = "the same" if found == expected else "OTHER"
    print(f"failed runs of {user} with {tag}: {len(found)} in one request of {seconds * 1000:.1f} ms; {same} runs as the client does it, in "
          f"{calls} requests, {size / 1e6:.1f} MB and {other:.1f} s")


TAGGED = (10, 1_000, 100_000)
TAG_QUERIES = {
    "filter, newest first": "type=task&tag={tag}",
    "word in the field": "type=task&q=tag:{tag}",
    "word anywhere": "q={tag}",
    "not the word": "type=task&q=-tag:{tag}&sort=-created_at",
    "facets of tags": "type=task&q=tag:{tag}&limit=0&facets=tag",
}


def load_tagged(base, first_run, first_task):
    """Runs of a task each, in sets with one tag in common, and one run of 10 000 tasks with 5 artifacts each."""
    flow, run, task, lines = "Tagged", first_run, first_task, []

    def send_lines(least):
        if len(lines) >= least:
            answer = post(base, "/api/v1/events", "\n".join(lines) + "\n")
            if answer["rejected"]:
                raise SystemExit(f"lines were rejected: {str(answer)[:500]}")
            lines.clear()

    def add(kind, event):
        lines.append(json.dumps({"type": kind, "event": {"flow_id": flow, "run_number": run, **event}}))

    post(base, f"/flows/{flow}", "{}")
    for count in TAGGED:
        for _ in range(count):
            add("RunStarted", {"user_name": "ann", "tags": [f"set{count}"], "system_tags": ["user:ann"]})
            add("StepRegistered", {"step_name": "end", "user_name": "ann"})
            add("TaskRegistered", {"step_name": "end", "task_id": task, "user_name": "ann"})
            run, task = run + 1, task + 1
            send_lines(5000)
    add("RunStarted", {"user_name": "ann", "tags": [], "system_tags": ["user:ann"]})
    add("StepRegistered", {"step_name": "end", "user_name": "ann"})
    for number in range(task, task + 10_000):
        add("TaskRegistered", {"step_name": "end", "task_id": number, "user_name": "ann"})
        entries = [{"name": f"a{n}", "location": "l", "ds_type": "s3", "attempt_id": 0} for n in range(5)]
        add("ArtifactsRegistered", {"step_name": "end", "task_id": number, "entries": entries})
        send_lines(5000)
    send_lines(1)
    return flow, run


def written_documents(base):
    with urllib.request.urlopen(base + "/metrics", timeout=120) as answer:
        found = re.search(r'search_documents_total\{outcome="written"\} (\d+)', answer.read().decode())
    return int(found.group(1)) if found else 0


def measure_tags(base, process, first_run, first_task):
    began = time.monotonic()
    flow, large = load_tagged(base, first_run, first_task)
    wait_for_search(base)
    print(f"loaded {sum(TAGGED)} runs with tags and one of 10 000 tasks in {time.monotonic() - began:.1f} s")
    print(f"{'one tag on so many runs':<30} {'runs':>8} {'found':>8} {'first ms':>9} {'p50 ms':>8} {'max ms':>8}  complete")
    for what, query in TAG_QUERIES.items():
        for count in TAGGED:
            path, took = "/api/v1/search?" + query.format(tag=f"set{count}"), []
            for _ in range(11):
                began = time.monotonic()
                answer = get(base, path)
                took.append((time.monotonic() - began) * 1000)
            first, rest_of = took[0], sorted(took[1:])
            print(f"{what:<30} {count:>8} {answer['total']:>8} {first:>9.1f} {rest_of[5]:>8.1f} {rest_of[-1]:>8.1f}  {answer['complete']}", flush=True)
    before, cpu, began = written_documents(base), processor_seconds(process.pid), time.monotonic()
    body = json.dumps({"tags_to_add": ["retagged"]}).encode()
    request = urllib.request.Request(f"{base}/flows/{flow}/runs/{large}/tag/mutate", data=body, method="PATCH")
    position = urllib.request.urlopen(request, timeout=120).headers["Daybook-Position"]
    found = get(base, "/api/v1/search?limit=0&tag=retagged", {"Daybook-Min-Position": position})["total"]
    seconds = time.monotonic() - began
    print(f"one tag on a run of 10 000 tasks with 5 artifacts each: {found} documents are found by it after {seconds * 1000:.0f} ms; "
          f"{written_documents(base) - before} written, {processor_seconds(process.pid) - cpu:.2f} s of a processor", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--daybook", required=True)
    parser.add_argument("--kafka")
    parser.add_argument("--postgres")
    parser.add_argument("--elasticsearch")
    parser.add_argument("--flows", type=int, default=50)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--only", choices=["tags"])
    given = parser.parse_args()
    name, folder = f"search_{time.time_ns()}", tempfile.TemporaryDirectory()
    target = urllib.parse.urlsplit(given.elasticsearch).netloc if given.elasticsearch else None
    if given.kafka:
        base_options = ["--log", f"{given.kafka}/{name}", "--tables", given.postgres, "--tables-schema", name]
        options = [*base_options, "--search", f"http://{target}/{name}"]
    else:
        options = ["--data-dir", folder.name]
    index = f"{name}-{name}_metaflow_g0001"
    process, base, _ = start(given.daybook, options)
    first = (given.flows * given.runs + 1_000, given.flows * given.runs * TASKS + 1_000)
    began = time.monotonic()
    load(base, given.flows, given.runs)
    loaded = time.monotonic() - began
    wait_for_search(base)
    seconds, (_, documents) = time.monotonic() - began, wait_for_search(base)
    print(f"loaded    {documents} documents' events in {loaded:.1f} s; search had them all after {seconds:.1f} s", flush=True)
    if given.only:
        measure_tags(base, process, *first)
        stop(process)
        return
    stop(process)
    if target:
        recorder = start_recorder(target)
        call(target, "DELETE", f"/{index}")
        recorded = [*base_options, "--search", f"http://127.0.0.1:{recorder.server_port}/{name}"]
        process, base, _ = start(given.daybook, recorded)
        wait_for_search(base)
        stop(process)
        for _ in range(2):
            call(target, "DELETE", f"/{index}")
            rest(target)
            process, base, rate = rebuild(given.daybook, options, documents)
            stop(process)
            rest(target)
            bare = documents / bare_seconds(target, index, list(Recorder.bodies.values()))
            print(f"bare      {bare:>9.0f} documents/s: building is {rate / bare:.2f} of it", flush=True)
        process, base, _ = start(given.daybook, options)
        rest(target)
    else:
        shutil.rmtree(pathlib.Path(folder.name) / "search")
        process, base, _ = rebuild(given.daybook, options, documents)
    print(f"{'query':<34} {'per s':>8} {'p50 ms':>8} {'p99 ms':>8} {'errors':>7}")
    for what, query in QUERIES.items():
        measure(base, query)
        rate, p50, p99, errors = measure(base, query)
        print(f"{what:<34} {rate:>8.0f} {p50:>8.2f} {p99:>8.2f} {errors:>7}", flush=True)
    ask_both_ways(base)
    visible(base)
    # After the runs that were created by hand, which have the next numbers.
    measure_tags(base, process, first[0] + 1_000, first[1])
    status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
    resident = int(re.search(r"VmRSS:\s+(\d+)", status).group(1)) // 1024
    print(f"daybook has {resident} MiB resident")
    stop(process)


if __name__ == "__main__":
    main()

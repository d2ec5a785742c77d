#!/usr/bin/env python3
"""Sends the same calls to Metaflow's own service and to Daybook, and prints where the answers differ.

Random scripts of calls, with the shapes that Metaflow's client sends and values that it can send; a script can be run
again by its seed. Needs no packages. See README.md beside this file.
"""

import argparse
import json
import random
import sys
import urllib.error
import urllib.parse
import urllib.request

# Values of metadata and of other fields, as JSON texts, because some of them have no Python value.
VALUES = [
    "null", '""', '"x"', '"a b"', '"\\u00e9"', '"\\ud83d\\ude00"', '"a\\u0000b"', '"f\\udcff.csv"', '"NULL"', "5", "-0",
    "-0.0", "1.50", "1e5", "1e15", "1e16", "1e20", "1e-7", "1e400", "18446744073709551616", "12345678901234567890123",
    "true", "false", "[]", "{}", '{"a":1}', '["x=a b","y=1"]', '["a",null]', '["NULL",""]', '["a\\"b","a\\\\b"]',
    '["a,b","{x}"]', "[true,false]", "[1,2.5]", "[[1,2],[3,4]]", "[[1],[2,3]]", '[1,"a"]', '["1",2]', "[[]]", "[null]",
    '["x=f\\udcff.csv"]', '["x=a\\u0000b"]', '[{"a":1}]', "[12345678901234567890123]", "[1,1e400]", '["a\\tb","a\\nb"]',
]
ATTEMPTS = ["0", "1", "2", '"1"', '" 1 "', "32767", "32768", "-1", "null", "1.0", "true", '"x"', "99999999999999999999"]
TAGS = ["[]", '["a"]', '["a","b"]', '["user:ann"]', '["metaflow_version:2.19.39"]', '["a\\u0000"]', '["\\ud800"]']
NAMES = ["start", "end", "a%2Fb", "%C3%BC"]
# Metadata as the client posts it: the fields of metadata.py, plugins and decorators.
FIELDS = ["attempt", "attempt_ok", "attempt-done", "foreach-stack", "aws-batch-awslogs-group", "origin-run-id", "code-package"]
ARTIFACTS = ["name", "x", "_foreach_stack", "_task_ok"]

# In place of the id of what could not be created.
UNKNOWN = "99999998"


class Service:
    """One of the two services, with the ids that it gave out."""

    def __init__(self, base):
        self.base = base.rstrip("/")
        self.ids = {}

    def call(self, method, path, body):
        path = path.format(**self.ids)
        data = body.encode() if body is not None else None
        request = urllib.request.Request(self.base + path, data=data, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, answer.read().decode(), answer.headers
        except urllib.error.HTTPError as answer:
            return answer.code, answer.read().decode(), answer.headers

    def shown(self, value):
        """An answer's value with this service's ids as names, and times as their kind."""
        names = {"run_number": {}, "task_id": {}}
        for name, number in self.ids.items():
            if not isinstance(number, str):
                names["run_number" if name.startswith("run") else "task_id"][str(number)] = "<" + name + ">"
        return normal(value, names)


def normal(value, names, field=""):
    if isinstance(value, dict):
        return {key: normal(item, names, key) for key, item in value.items() if key != "traceback"}
    if isinstance(value, list):
        items = [normal(item, names, field) for item in value]
        # Changes of tags give them any order.
        return sorted(items, key=str) if field in ("tags", "system_tags") else items
    if field in ("ts_epoch", "last_heartbeat_ts") and isinstance(value, int):
        return "<time>"
    if field == "id":
        return "<id>"
    if field in ("pgerror", "message_primary"):
        return "<text>"
    if field in names and not isinstance(value, bool) and str(value) in names[field]:
        return type(value).__name__ + names[field][str(value)]
    if field in ("tags", "system_tags") and value is None:
        return []
    if isinstance(value, str) and field == "":
        if value.startswith(("{", "[")):
            try:
                return normal(json.loads(value), names, "inner")
            except ValueError:
                return value
        # A path of filtered_tasks, as flow/run/step/task. Flows have no slash here, and steps have at most one.
        flow, *rest = value.split("/")
        if len(rest) > 2:
            rest[0], rest[-1] = names["run_number"].get(rest[0], rest[0]), names["task_id"].get(rest[-1], rest[-1])
        return "/".join([flow, *rest])
    return value


def body_of(text, service):
    try:
        value = service.shown(json.loads(text))
    except ValueError:
        return text
    # The order of whole lists is not specified.
    return sorted(value, key=lambda item: json.dumps(item, sort_keys=True)) if isinstance(value, list) else value


def intended(call, original, ours):
    """Why a difference is intended, or None. The first matching reason counts."""
    (status, body, _), (own_status, own_body, _) = original, ours
    unknown_run = isinstance(body, dict) and body.get("detail") == "'run_number'"
    names_field = isinstance(own_body, dict) and own_body.get("field")
    if status == 500 and own_status in (400, 404, 413) and (names_field or not unknown_run):
        return "a client's mistake is 400, not 500"
    if status == 500 and own_status == 409 and isinstance(body, dict) and "err_msg" in body:
        return "a duplicate with a further mistake is 409, not 500"
    if call.path.endswith("/heartbeat") and status == 404 and own_status == 200:
        return "an early heartbeat of an object that is there is 200"
    return None


class Call:
    def __init__(self, method, path, body=None, keeps=None):
        self.method, self.path, self.body, self.keeps = method, path, body, keeps

    def __str__(self):
        return f"{self.method} {self.path} {self.body if self.body is not None else ''}"


class Script:
    """Random calls on one flow. Ids that services give out are named in paths, as {run0}."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.flow = f"Compare{seed}x{random.SystemRandom().randrange(10**6)}"
        self.runs, self.steps, self.tasks = [], [], []

    def pick(self, items):
        return self.random.choice(items)

    def description(self):
        fields = []
        if self.random.random() < 0.7:
            fields.append('"user_name": ' + self.pick(['"ann"', "null", self.pick(VALUES)]))
        for name in ("tags", "system_tags"):
            if self.random.random() < 0.6:
                fields.append(f'"{name}": ' + self.pick(TAGS))
        if self.random.random() < 0.1:
            fields.append('"junk": "\\ud800"')
        return fields

    def run(self):
        return self.pick(self.runs) if self.runs and self.random.random() < 0.95 else f"/flows/{self.flow}/runs/99999999"

    def step(self):
        known = self.steps and self.random.random() < 0.95
        return self.pick(self.steps) if known else self.run() + "/steps/none"

    def task(self):
        known = self.tasks and self.random.random() < 0.95
        return self.pick(self.tasks) if known else self.step() + "/tasks/99999999"

    def entries(self, required, optional):
        entries = []
        for _ in range(self.random.randrange(4)):
            fields = [f'"{name}": {self.pick([usual, usual, self.pick(VALUES)])}' for name, usual in required]
            fields += [f'"{name}": {self.pick(values)}' for name, values in optional if self.random.random() < 0.5]
            self.random.shuffle(fields)
            entries.append("{" + ", ".join(fields[: self.random.randrange(len(fields) + 1)] or fields) + "}")
        return "[" + ", ".join(entries) + "]"

    def metadata(self):
        required = [("field_name", json.dumps(self.pick(FIELDS))), ("value", self.pick(VALUES)), ("type", '"t"')]
        optional = [("user_name", VALUES), ("tags", TAGS), ("system_tags", TAGS)]
        return Call("POST", self.task() + "/metadata", self.entries(required, optional))

    def artifact(self):
        required = [("name", json.dumps(self.pick(ARTIFACTS))), ("location", '"l"'), ("ds_type", '"s3"')]
        optional = [(name, VALUES) for name in ("sha", "type", "content_type", "user_name")]
        optional += [("attempt_id", ATTEMPTS), ("tags", TAGS)]
        return Call("POST", self.task() + "/artifact", self.entries(required, optional))

    def new_run(self):
        named = self.random.random() < 0.3
        # Tags that are null cannot be changed in the original; here they are empty.
        fields = [field for field in self.description() if "tags" not in field]
        fields += [f'"{name}": {self.pick(TAGS[:-2])}' for name in ("tags", "system_tags")]
        if named:
            fields.append('"run_number": ' + self.pick(['"argo-1"', '"argo-2"', '"7"', "null", '"\\u0661"']))
        name = f"run{len(self.runs)}"
        self.runs.append(f"/flows/{self.flow}/runs/{{{name}}}")
        return Call("POST", f"/flows/{self.flow}/run", "{" + ", ".join(fields) + "}", (name, "run_number"))

    def new_step(self):
        path = f"{self.run()}/steps/{self.pick(NAMES)}"
        self.steps.append(path)
        return Call("POST", path + "/step", "{" + ", ".join(self.description()) + "}")

    def new_task(self):
        step, fields = self.step(), self.description()
        if self.random.random() < 0.3:
            fields.append('"task_id": ' + self.pick(['"t-1"', '"t-2"', '"7"', "null"]))
        name = f"task{len(self.tasks)}"
        self.tasks.append(f"{step}/tasks/{{{name}}}")
        return Call("POST", step + "/task", "{" + ", ".join(fields) + "}", (name, "task_id"))

    def mutate(self):
        lists = ['["a"]', '["a","c"]', "[]", '["user:ann"]', "null", '"x"', "[1]"]
        fields = [f'"{name}": {self.pick(lists)}' for name in ("tags_to_add", "tags_to_remove") if self.random.random() < 0.7]
        return Call("PATCH", self.run() + "/tag/mutate", "{" + ", ".join(fields) + "}")

    def heartbeat(self):
        return Call("POST", self.pick([self.run(), self.task()]) + "/heartbeat", self.pick(["", "{}"]))

    def read(self):
        run, step, task = self.run(), self.step(), self.task()
        attempt, name = self.pick(["0", "1", "32767"]), self.pick(ARTIFACTS)
        filtered = urllib.parse.urlencode({"metadata_field_name": self.pick(["", *FIELDS]), "pattern": self.pick(["", "x", "^(?:5)$"])})
        return Call("GET", self.pick([
            f"/flows/{self.flow}", f"/flows/{self.flow}/runs", run, run + "/steps", run + "/metadata", step, step + "/tasks",
            f"{step}/filtered_tasks?{filtered}", task, task + "/metadata", task + "/artifacts",
            f"{task}/artifacts/{name}", f"{task}/artifacts/{name}/attempt/{attempt}", f"{task}/attempt/{attempt}/artifacts",
        ]))

    def calls(self, count):
        yield Call("POST", f"/flows/{self.flow}", "{" + ", ".join(self.description()) + "}")
        yield self.new_run()
        yield self.new_step()
        yield self.new_task()
        kinds = [self.new_run, self.new_step, self.new_task, self.mutate, self.heartbeat]
        kinds += [self.metadata, self.artifact] * 3 + [self.read] * 6
        for _ in range(count):
            yield self.pick(kinds)()


def beats_unknown_task(call, ids):
    """In the original such a heartbeat is 404 and beats the run all the same; here what is refused changes nothing."""
    parts = call.path.split("/")
    known = parts[-2].strip("{}") in ids and ids[parts[-2].strip("{}")] != UNKNOWN if len(parts) > 2 else False
    return parts[-1] == "heartbeat" and "tasks" in parts and not known


def compare(original, ours, seed, count, notes):
    """Runs a script on both; prints differences; returns their number."""
    differences = 0
    original.ids, ours.ids = {}, {}
    for call in Script(seed).calls(count):
        if beats_unknown_task(call, original.ids):
            continue
        answers = []
        for service in (original, ours):
            # What a refused creation would have named is nowhere.
            while True:
                try:
                    status, text, headers = service.call(call.method, call.path, call.body)
                    break
                except KeyError as missing:
                    service.ids[missing.args[0]] = UNKNOWN
            if call.keeps and status == 200:
                name, field = call.keeps
                service.ids[name] = json.loads(text)[field]
            answers.append((status, text, headers))
        shown = [(status, body_of(text, service), headers)
                 for (status, text, headers), service in zip(answers, (original, ours))]
        same = shown[0][:2] == shown[1][:2]
        # Headers that clients read.
        for name in ("X-Limit", "X-Next-Cursor"):
            same = same and (shown[0][2].get(name) is None) == (shown[1][2].get(name) is None)
        if same:
            continue
        reason = intended(call, *shown)
        if reason:
            notes[reason] = notes.get(reason, 0) + 1
            continue
        differences += 1
        print(f"seed {seed}: {call}\n  original {shown[0][0]} {json.dumps(shown[0][1])[:600]}\n"
              f"  ours     {shown[1][0]} {json.dumps(shown[1][1])[:600]}")
    return differences


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("original", help="base URL of Metaflow's own service")
    parser.add_argument("ours", help="base URL of daybook")
    parser.add_argument("--seed", type=int, help="run the script of this seed alone")
    parser.add_argument("--scripts", type=int, default=100, help="how many scripts (default: %(default)s)")
    parser.add_argument("--calls", type=int, default=60, help="calls of a script (default: %(default)s)")
    options = parser.parse_args()
    original, ours = Service(options.original), Service(options.ours)
    first = random.SystemRandom().randrange(10**6)
    seeds = [options.seed] if options.seed is not None else range(first, first + options.scripts)
    print(f"seeds {seeds[0]} to {seeds[-1]}, {options.calls} calls each", flush=True)
    notes = {}
    differences = sum(compare(original, ours, seed, options.calls, notes) for seed in seeds)
    for reason, count in sorted(notes.items()):
        print(f"intended, {count} times: {reason}")
    print(f"{differences} differences that are not intended")
    sys.exit(1 if differences else 0)


if __name__ == "__main__":
    main()

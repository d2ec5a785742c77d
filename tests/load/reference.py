#!/usr/bin/env python3
"""A stand-in for a metadata service that writes rows straight into PostgreSQL, to measure Daybook against in one run.

    reference.py --listen 8090 --postgres "host=127.0.0.1 port=5432 user=postgres dbname=postgres"

It is NOT Netflix/metaflow-service and shares no code with it. It does for each request the least that such a service must
do, with the same parts (Python, aiohttp, aiopg and psycopg2, a pool of 10 connections, one process): one INSERT a row, each
in a transaction of its own, look-ups of the parents, the run's tags grafted onto answers. It validates nothing and has no
filters, no paging, no error shapes. So ratios to it are, if anything, too small. A flow of Metaflow's client runs against it
(foreach.py). Needs what requirements.txt beside it names.
"""
import argparse
import json
import time

import aiopg
import psycopg2.extras
from aiohttp import web

SCHEMA = """
CREATE SCHEMA reference;
CREATE TABLE reference.flows (flow_id VARCHAR(255) PRIMARY KEY, user_name VARCHAR(255), ts_epoch BIGINT NOT NULL, tags JSONB,
    system_tags JSONB);
CREATE TABLE reference.runs (flow_id VARCHAR(255) REFERENCES reference.flows, run_number SERIAL, user_name VARCHAR(255),
    ts_epoch BIGINT NOT NULL, tags JSONB, system_tags JSONB, last_heartbeat_ts BIGINT, PRIMARY KEY (flow_id, run_number));
CREATE INDEX ON reference.runs (flow_id, ts_epoch DESC, run_number DESC);
CREATE TABLE reference.steps (flow_id VARCHAR(255), run_number BIGINT, step_name VARCHAR(255), user_name VARCHAR(255),
    ts_epoch BIGINT NOT NULL, tags JSONB, system_tags JSONB, PRIMARY KEY (flow_id, run_number, step_name),
    FOREIGN KEY (flow_id, run_number) REFERENCES reference.runs);
CREATE TABLE reference.tasks (flow_id VARCHAR(255), run_number BIGINT, step_name VARCHAR(255), task_id BIGSERIAL PRIMARY KEY,
    user_name VARCHAR(255), ts_epoch BIGINT NOT NULL, tags JSONB, system_tags JSONB, last_heartbeat_ts BIGINT,
    FOREIGN KEY (flow_id, run_number, step_name) REFERENCES reference.steps);
CREATE INDEX ON reference.tasks (flow_id, run_number, step_name, ts_epoch DESC, task_id DESC);
CREATE TABLE reference.metadata (flow_id VARCHAR(255), run_number BIGINT, step_name VARCHAR(255), task_id BIGINT,
    id BIGSERIAL, field_name VARCHAR(255), value TEXT, type VARCHAR(255), user_name VARCHAR(255), ts_epoch BIGINT NOT NULL,
    tags JSONB, system_tags JSONB, PRIMARY KEY (id, flow_id, run_number, step_name, task_id, field_name));
CREATE INDEX ON reference.metadata (flow_id, run_number, step_name, task_id, field_name);
CREATE TABLE reference.artifacts (flow_id VARCHAR(255), run_number BIGINT, step_name VARCHAR(255), task_id BIGINT,
    name VARCHAR(255), location VARCHAR(255), ds_type VARCHAR(255), sha VARCHAR(255), type VARCHAR(255),
    content_type VARCHAR(255), user_name VARCHAR(255), attempt_id SMALLINT, ts_epoch BIGINT NOT NULL, tags JSONB,
    system_tags JSONB, PRIMARY KEY (flow_id, run_number, step_name, task_id, attempt_id, name));
"""
RUN = "/flows/{flow}/runs/{run}"
STEP = RUN + "/steps/{step}"
TASK = STEP + "/tasks/{task}"
ROW = {"cursor_factory": psycopg2.extras.RealDictCursor}
routes = web.RouteTableDef()


def now():
    return int(time.time() * 1000)


async def query(request, sql, *values):
    """The rows of one statement, in a transaction of its own."""
    async with request.app["pool"].acquire() as connection, connection.cursor(**ROW) as cursor:
        await cursor.execute(sql, values)
        return await cursor.fetchall() if cursor.description else []


async def insert(request, table, fields):
    """Inserts one row; a row that is there already is a conflict."""
    names, marks = ", ".join(fields), ", ".join(["%s"] * len(fields))
    sql = f"INSERT INTO reference.{table} ({names}) VALUES ({marks}) RETURNING *"
    values = [json.dumps(value) if isinstance(value, list) else value for value in fields.values()]
    try:
        return (await query(request, sql, *values))[0]
    except psycopg2.errors.UniqueViolation:
        raise web.HTTPConflict(text="{}")


def described(body):
    return {"user_name": body.get("user_name"), "ts_epoch": now(), "tags": body.get("tags"), "system_tags": body.get("system_tags")}


def place(request, depth):
    given = request.match_info
    fields = {"flow_id": given["flow"], "run_number": int(given.get("run", 0)), "step_name": given.get("step"), "task_id": int(given.get("task", 0))}
    return dict(list(fields.items())[:depth])


async def run_of(request):
    sql = "SELECT * FROM reference.runs WHERE flow_id = %s AND run_number = %s"
    return first(await query(request, sql, request.match_info["flow"], int(request.match_info["run"])))


async def grafted(request, rows):
    run = await run_of(request)
    return [{**row, "tags": run["tags"], "system_tags": run["system_tags"]} for row in rows]


def answer(value):
    return web.Response(text=json.dumps(value))


@routes.get("/ping")
async def ping(_request):
    # What Metaflow's client asks for before it creates flows and sends heartbeats.
    return web.Response(text="pong", headers={"METADATA_SERVICE_VERSION": "2.5.1"})


@routes.post("/flows/{flow}")
async def register_flow(request):
    return answer(await insert(request, "flows", {**place(request, 1), **described(await request.json())}))


@routes.post("/flows/{flow}/run")
async def start_run(request):
    fields = {**place(request, 1), **described(await request.json()), "last_heartbeat_ts": now() // 1000}
    return answer(await insert(request, "runs", fields))


async def beat(request, table, where, *keys):
    """Beats a heart, unless it was beaten in the last ten seconds."""
    at = now() // 1000
    sql = f"UPDATE reference.{table} SET last_heartbeat_ts = %s WHERE {where} AND last_heartbeat_ts <= %s"
    await query(request, sql, at, *keys, at - 10)


async def beat_run(request):
    await beat(request, "runs", "flow_id = %s AND run_number = %s", *place(request, 2).values())


@routes.post(RUN + "/heartbeat")
async def heartbeat_of_run(request):
    await beat_run(request)
    return answer({"wait_time_in_seconds": 10})


@routes.post(TASK + "/heartbeat")
async def heartbeat_of_task(request):
    await beat(request, "tasks", "task_id = %s", place(request, 4)["task_id"])
    return answer({"wait_time_in_seconds": 10})


@routes.post(STEP + "/step")
async def register_step(request):
    await run_of(request)
    return answer(await insert(request, "steps", {**place(request, 3), **described(await request.json())}))


@routes.post(STEP + "/task")
async def register_task(request):
    body, at = await request.json(), now() // 1000
    await run_of(request)
    made = await insert(request, "tasks", {**place(request, 3), **described(body), "last_heartbeat_ts": at})
    await beat_run(request)
    return answer((await grafted(request, [made]))[0])


async def register_entries(request, table, fields, counted):
    entries = await request.json()
    await run_of(request)
    await task_of(request)
    for entry in entries:
        given = {name: entry.get(name, " ") for name in fields}
        attempt = {"attempt_id": entry.get("attempt_id", 0)} if table == "artifacts" else {}
        await insert(request, table, {**place(request, 4), **described(entry), **given, **attempt})
    return answer({counted: len(entries)})


@routes.post(TASK + "/artifact")
async def register_artifacts(request):
    fields = ["name", "location", "ds_type", "sha", "type", "content_type"]
    return await register_entries(request, "artifacts", fields, "artifacts_created")


@routes.post(TASK + "/metadata")
async def register_metadata(request):
    return await register_entries(request, "metadata", ["field_name", "value", "type"], "metadata_created")


def first(rows):
    if not rows:
        raise web.HTTPNotFound(text="{}")
    return rows[0]


@routes.get("/flows/{flow}")
async def show_flow(request):
    return answer(first(await query(request, "SELECT * FROM reference.flows WHERE flow_id = %s", request.match_info["flow"])))


@routes.get(STEP)
async def show_step(request):
    where = "flow_id = %s AND run_number = %s AND step_name = %s"
    rows = await query(request, f"SELECT * FROM reference.steps WHERE {where}", *place(request, 3).values())
    return answer(first(await grafted(request, rows)))


@routes.get(RUN)
async def show_run(request):
    return answer(await run_of(request))


async def task_of(request):
    where = "flow_id = %s AND run_number = %s AND step_name = %s AND task_id = %s"
    return await query(request, f"SELECT * FROM reference.tasks WHERE {where}", *place(request, 4).values())


@routes.get(TASK)
async def show_task(request):
    return answer(first(await grafted(request, await task_of(request))))


@routes.get(TASK + "/metadata")
async def list_metadata(request):
    where = "flow_id = %s AND run_number = %s AND step_name = %s AND task_id = %s ORDER BY ts_epoch DESC, id DESC"
    return answer(await query(request, f"SELECT * FROM reference.metadata WHERE {where}", *place(request, 4).values()))


@routes.get(TASK + "/artifacts/{name}")
async def show_artifact(request):
    where = "flow_id = %s AND run_number = %s AND step_name = %s AND task_id = %s"
    keys = list(place(request, 4).values())
    sql = f"SELECT COALESCE(MAX(attempt_id), 0) AS attempt FROM reference.artifacts WHERE {where} AND name = 'name'"
    attempt = (await query(request, sql, *keys))[0]["attempt"]
    sql = f"SELECT * FROM reference.artifacts WHERE {where} AND attempt_id = %s AND name = %s"
    return answer((await grafted(request, await query(request, sql, *keys, attempt, request.match_info["name"])))[0])


@routes.get(STEP + "/tasks")
async def list_tasks(request):
    where = "flow_id = %s AND run_number = %s AND step_name = %s ORDER BY ts_epoch DESC, task_id DESC"
    limit = f" LIMIT {int(request.query['_limit'])}" if "_limit" in request.query else ""
    rows = await query(request, f"SELECT * FROM reference.tasks WHERE {where}{limit}", *place(request, 3).values())
    return answer(await grafted(request, rows))


@routes.get(STEP + "/artifacts")
async def list_artifacts(request):
    where = "flow_id = %s AND run_number = %s AND step_name = %s ORDER BY attempt_id DESC"
    rows = await query(request, f"SELECT * FROM reference.artifacts WHERE {where}", *place(request, 3).values())
    latest = {}
    for row in rows:
        latest[row["task_id"]] = max(row["attempt_id"], latest.get(row["task_id"], 0))
    return answer(await grafted(request, [row for row in rows if row["attempt_id"] == latest[row["task_id"]]]))


async def open_app(postgres):
    app = web.Application(client_max_size=1 << 30)
    app["pool"] = await aiopg.create_pool(postgres, minsize=1, maxsize=10)
    async with app["pool"].acquire() as connection, connection.cursor() as cursor:
        await cursor.execute("DROP SCHEMA IF EXISTS reference CASCADE")
        await cursor.execute(SCHEMA)
    app.add_routes(routes)
    return app


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--listen", type=int, default=8090)
    parser.add_argument("--postgres", required=True)
    given = parser.parse_args()
    web.run_app(open_app(given.postgres), host="127.0.0.1", port=given.listen, access_log=None)

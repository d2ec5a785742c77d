-- The tables of Metaflow's objects. Texts compare by bytes, so that both engines give the same order.
-- Every row keeps the position of the event that made it (record_partition, record_offset).
-- The tags of steps, tasks and artifacts are not kept: answers show the run's.
-- Look-ups by a key compare further columns as `run_number + 0` and `step_name || ''`: the planner must not take another
-- index for them, by which it would read a whole run for each row.
CREATE TABLE IF NOT EXISTS flows (
    flow_id TEXT NOT NULL PRIMARY KEY,
    user_name TEXT,
    ts_epoch BIGINT NOT NULL,
    tags TEXT NOT NULL,
    system_tags TEXT NOT NULL,
    record_partition BIGINT NOT NULL,
    record_offset BIGINT NOT NULL
);

CREATE INDEX IF NOT EXISTS flows_newest ON flows (ts_epoch DESC, flow_id DESC);

-- heartbeat_at is the beat that the start or the last registration of a task counted as, in seconds. outcome is the status that
-- the end step's metadata record, null where they record none; the revisions count the events that touched tags and outcome.
CREATE TABLE IF NOT EXISTS runs (
    flow_id TEXT NOT NULL,
    run_number BIGINT NOT NULL,
    run_id TEXT,
    user_name TEXT,
    ts_epoch BIGINT NOT NULL,
    tags TEXT NOT NULL,
    system_tags TEXT NOT NULL,
    heartbeat_at BIGINT,
    outcome TEXT,
    tags_revision BIGINT NOT NULL DEFAULT 0,
    outcome_revision BIGINT NOT NULL DEFAULT 0,
    record_partition BIGINT NOT NULL,
    record_offset BIGINT NOT NULL,
    PRIMARY KEY (run_number, flow_id)
);

CREATE UNIQUE INDEX IF NOT EXISTS runs_named ON runs (run_id, flow_id)
WHERE run_id IS NOT NULL;

CREATE INDEX IF NOT EXISTS runs_newest ON runs (flow_id, ts_epoch DESC, run_number DESC);

-- Beats come from another topic, in no order against events: they stand apart. The last of the topic wins, also over one
-- with a later time: that one's clock was wrong.
CREATE TABLE IF NOT EXISTS run_heartbeats (
    run_number BIGINT NOT NULL,
    flow_id TEXT NOT NULL,
    beat_at BIGINT NOT NULL,
    PRIMARY KEY (run_number, flow_id)
);

CREATE TABLE IF NOT EXISTS task_heartbeats (
    task_id BIGINT NOT NULL,
    flow_id TEXT NOT NULL,
    beat_at BIGINT NOT NULL,
    PRIMARY KEY (task_id, flow_id)
);

CREATE TABLE IF NOT EXISTS steps (
    flow_id TEXT NOT NULL,
    run_number BIGINT NOT NULL,
    step_name TEXT NOT NULL,
    user_name TEXT,
    ts_epoch BIGINT NOT NULL,
    record_partition BIGINT NOT NULL,
    record_offset BIGINT NOT NULL,
    PRIMARY KEY (run_number, step_name, flow_id)
);

CREATE INDEX IF NOT EXISTS steps_newest ON steps (run_number, ts_epoch DESC, step_name DESC);

CREATE TABLE IF NOT EXISTS tasks (
    flow_id TEXT NOT NULL,
    run_number BIGINT NOT NULL,
    step_name TEXT NOT NULL,
    task_id BIGINT NOT NULL,
    task_name TEXT,
    user_name TEXT,
    ts_epoch BIGINT NOT NULL,
    heartbeat_at BIGINT,
    latest_attempt BIGINT NOT NULL DEFAULT 0,
    record_partition BIGINT NOT NULL,
    record_offset BIGINT NOT NULL,
    PRIMARY KEY (task_id, flow_id)
);

CREATE UNIQUE INDEX IF NOT EXISTS tasks_named ON tasks (run_number, step_name, task_name, flow_id)
WHERE task_name IS NOT NULL;

CREATE INDEX IF NOT EXISTS tasks_newest ON tasks (run_number, step_name, ts_epoch DESC, task_id DESC);

CREATE TABLE IF NOT EXISTS artifacts (
    flow_id TEXT NOT NULL,
    run_number BIGINT NOT NULL,
    step_name TEXT NOT NULL,
    task_id BIGINT NOT NULL,
    task_name TEXT,
    name TEXT NOT NULL,
    location TEXT NOT NULL,
    ds_type TEXT NOT NULL,
    sha TEXT,
    type TEXT,
    content_type TEXT,
    user_name TEXT,
    attempt_id BIGINT NOT NULL,
    ts_epoch BIGINT NOT NULL,
    record_partition BIGINT NOT NULL,
    record_offset BIGINT NOT NULL,
    PRIMARY KEY (task_id, attempt_id, name, flow_id)
);

CREATE INDEX IF NOT EXISTS artifacts_newest ON artifacts (run_number, step_name, ts_epoch DESC, task_id DESC, name DESC);

CREATE TABLE IF NOT EXISTS metadata (
    flow_id TEXT NOT NULL,
    run_number BIGINT NOT NULL,
    step_name TEXT NOT NULL,
    task_id BIGINT NOT NULL,
    task_name TEXT,
    id BIGINT NOT NULL,
    field_name TEXT NOT NULL,
    value TEXT NOT NULL,
    type TEXT NOT NULL,
    user_name TEXT,
    ts_epoch BIGINT NOT NULL,
    tags TEXT NOT NULL,
    system_tags TEXT NOT NULL,
    record_partition BIGINT NOT NULL,
    record_offset BIGINT NOT NULL
);

CREATE INDEX IF NOT EXISTS metadata_newest ON metadata (task_id, ts_epoch DESC, id DESC);

-- How many artifacts of a record were there already, for records with any.
CREATE TABLE IF NOT EXISTS skips (
    record_partition BIGINT NOT NULL,
    record_offset BIGINT NOT NULL,
    entries BIGINT NOT NULL,
    PRIMARY KEY (record_partition, record_offset)
);

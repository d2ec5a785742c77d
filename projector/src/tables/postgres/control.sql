-- The control storage. Only additions; each statement can be run again.
CREATE SCHEMA IF NOT EXISTS {schema};

CREATE TABLE IF NOT EXISTS generations (
    domain TEXT NOT NULL,
    generation BIGINT NOT NULL,
    schema TEXT NOT NULL,
    state TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    log_id TEXT NOT NULL,
    PRIMARY KEY (domain, generation)
);

CREATE TABLE IF NOT EXISTS live (
    domain TEXT PRIMARY KEY,
    generation BIGINT NOT NULL
);

-- Processes that hold a lease; partitions are shared among those that project.
CREATE TABLE IF NOT EXISTS instances (
    instance TEXT PRIMARY KEY,
    roles TEXT NOT NULL,
    topics TEXT NOT NULL,
    expires_at BIGINT NOT NULL
);

-- The last number that any process took of each sequence.
CREATE TABLE IF NOT EXISTS sequences (
    name TEXT PRIMARY KEY,
    last_number BIGINT NOT NULL
);

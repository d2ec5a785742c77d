-- The control storage. Only additions; each statement can be run again.
CREATE TABLE IF NOT EXISTS generations (
    domain TEXT NOT NULL,
    generation INTEGER NOT NULL,
    schema TEXT NOT NULL,
    state TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    log_id TEXT NOT NULL,
    PRIMARY KEY (domain, generation)
);

CREATE TABLE IF NOT EXISTS live (
    domain TEXT PRIMARY KEY,
    generation INTEGER NOT NULL
);

CREATE TABLE IF NOT EXISTS instances (
    instance TEXT PRIMARY KEY,
    roles TEXT NOT NULL,
    topics TEXT NOT NULL,
    expires_at INTEGER NOT NULL
);

CREATE TABLE IF NOT EXISTS sequences (
    name TEXT PRIMARY KEY,
    last_number INTEGER NOT NULL
);

-- The control storage. Only additions; each statement can be run again.
-- What was built: the generations of all domains, and those that are gone. Times are in milliseconds since 1970.
CREATE TABLE IF NOT EXISTS generations (
    domain TEXT NOT NULL,
    generation INTEGER NOT NULL,
    schema TEXT NOT NULL,
    index_name TEXT NOT NULL DEFAULT '',
    state TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    log_id TEXT NOT NULL,
    label TEXT NOT NULL,
    promotes INTEGER NOT NULL,
    accepts_quarantine INTEGER NOT NULL,
    until TEXT NOT NULL DEFAULT '',
    goal TEXT NOT NULL,
    reason TEXT NOT NULL,
    report TEXT NOT NULL,
    stopped TEXT NOT NULL DEFAULT '',
    created_at INTEGER NOT NULL,
    began_at INTEGER NOT NULL DEFAULT 0,
    changed_at INTEGER NOT NULL,
    PRIMARY KEY (domain, generation)
);

-- The control row of each domain: which generation is live, which one was, and which switch is under way. 0 is none.
CREATE TABLE IF NOT EXISTS domains (
    domain TEXT PRIMARY KEY,
    epoch INTEGER NOT NULL,
    live INTEGER NOT NULL,
    previous INTEGER NOT NULL,
    phase TEXT NOT NULL,
    candidate INTEGER NOT NULL,
    deadline INTEGER NOT NULL
);

-- What else is known of generations: fingerprints of their parts, and how long their rebuilds took.
CREATE TABLE IF NOT EXISTS generation_notes (
    domain TEXT NOT NULL,
    generation INTEGER NOT NULL,
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (domain, generation, name)
);

-- Processes that hold a lease; partitions are shared among those that project.
CREATE TABLE IF NOT EXISTS instances (
    instance TEXT PRIMARY KEY,
    roles TEXT NOT NULL,
    topics TEXT NOT NULL,
    number INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
);

-- Milliseconds that the reads of a process took lately: the 99th percentile.
CREATE TABLE IF NOT EXISTS read_latencies (
    instance TEXT PRIMARY KEY,
    milliseconds INTEGER NOT NULL
);

-- The epoch of each domain's control row that a process has acknowledged.
CREATE TABLE IF NOT EXISTS acknowledgements (
    instance TEXT NOT NULL,
    domain TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    PRIMARY KEY (instance, domain)
);

CREATE TABLE IF NOT EXISTS sequences (
    name TEXT PRIMARY KEY,
    last_number INTEGER NOT NULL
);

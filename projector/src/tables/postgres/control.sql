-- The control storage. Only additions; each statement can be run again.
CREATE SCHEMA IF NOT EXISTS {schema};

-- What was built: the generations of all domains, and those that are gone. Times are in milliseconds since 1970.
CREATE TABLE IF NOT EXISTS generations (
    domain TEXT NOT NULL,
    generation BIGINT NOT NULL,
    schema TEXT NOT NULL,
    index_name TEXT NOT NULL DEFAULT '',
    state TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    log_id TEXT NOT NULL,
    label TEXT NOT NULL,
    promotes BIGINT NOT NULL,
    accepts_quarantine BIGINT NOT NULL,
    until TEXT NOT NULL DEFAULT '',
    goal TEXT NOT NULL,
    reason TEXT NOT NULL,
    report TEXT NOT NULL,
    stopped TEXT NOT NULL DEFAULT '',
    created_at BIGINT NOT NULL,
    began_at BIGINT NOT NULL DEFAULT 0,
    changed_at BIGINT NOT NULL,
    PRIMARY KEY (domain, generation)
);

-- Columns that earlier builds did not have. To add one that is there would lock the table, too.
DO $$
DECLARE
    added TEXT;
BEGIN
    FOREACH added IN ARRAY ARRAY[
        'until TEXT NOT NULL DEFAULT ''''',
        'index_name TEXT NOT NULL DEFAULT ''''',
        'stopped TEXT NOT NULL DEFAULT ''''',
        'began_at BIGINT NOT NULL DEFAULT 0'
    ] LOOP
        IF NOT EXISTS (
            SELECT FROM pg_attribute
            WHERE attrelid = 'generations'::REGCLASS AND attname = SPLIT_PART(added, ' ', 1) AND NOT attisdropped
        ) THEN
            EXECUTE 'ALTER TABLE generations ADD COLUMN ' || added;
        END IF;
    END LOOP;
END
$$;

-- The control row of each domain: which generation is live, which one was, and which switch is under way. 0 is none.
CREATE TABLE IF NOT EXISTS domains (
    domain TEXT PRIMARY KEY,
    epoch BIGINT NOT NULL,
    live BIGINT NOT NULL,
    previous BIGINT NOT NULL,
    phase TEXT NOT NULL,
    candidate BIGINT NOT NULL,
    deadline BIGINT NOT NULL
);

-- What else is known of generations: fingerprints of their parts, and how long their rebuilds took.
CREATE TABLE IF NOT EXISTS generation_notes (
    domain TEXT NOT NULL,
    generation BIGINT NOT NULL,
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (domain, generation, name)
);

-- Processes that hold a lease; partitions are shared among those that project.
CREATE TABLE IF NOT EXISTS instances (
    instance TEXT PRIMARY KEY,
    roles TEXT NOT NULL,
    topics TEXT NOT NULL,
    number BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);

-- Milliseconds that the reads of a process took lately: the 99th percentile.
CREATE TABLE IF NOT EXISTS read_latencies (
    instance TEXT PRIMARY KEY,
    milliseconds BIGINT NOT NULL
);

-- The epoch of each domain's control row that a process has acknowledged.
CREATE TABLE IF NOT EXISTS acknowledgements (
    instance TEXT NOT NULL,
    domain TEXT NOT NULL,
    epoch BIGINT NOT NULL,
    PRIMARY KEY (instance, domain)
);

-- The last number that any process took of each sequence.
CREATE TABLE IF NOT EXISTS sequences (
    name TEXT PRIMARY KEY,
    last_number BIGINT NOT NULL
);

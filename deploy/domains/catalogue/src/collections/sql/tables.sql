-- Reads by name and revision use the primary key.
CREATE TABLE IF NOT EXISTS definitions (
    collection TEXT COLLATE "C" NOT NULL,
    revision BIGINT NOT NULL,
    definition TEXT NOT NULL,
    hash TEXT NOT NULL,
    note TEXT,
    defined_at BIGINT NOT NULL,
    record_partition BIGINT NOT NULL,
    record_offset BIGINT NOT NULL,
    PRIMARY KEY (collection, revision)
);
CREATE TABLE IF NOT EXISTS term_lists (
    list TEXT COLLATE "C" NOT NULL,
    revision BIGINT NOT NULL,
    terms TEXT NOT NULL,
    hash TEXT NOT NULL,
    term_count BIGINT NOT NULL,
    note TEXT,
    set_at BIGINT NOT NULL,
    record_partition BIGINT NOT NULL,
    record_offset BIGINT NOT NULL,
    PRIMARY KEY (list, revision)
);

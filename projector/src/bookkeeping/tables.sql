-- For each partition, the next offset that this generation will apply, and the last record that it has applied: its
-- offset, or -1, and its hash. Whether the generation is live is the same in all rows: whoever commits a batch for a live
-- generation, or for another one, finds here that a switch has changed that.
CREATE TABLE IF NOT EXISTS checkpoints (
    topic TEXT NOT NULL,
    partition_id BIGINT NOT NULL,
    next_offset BIGINT NOT NULL,
    record_offset BIGINT NOT NULL,
    record_hash TEXT NOT NULL,
    is_live BIGINT NOT NULL,
    PRIMARY KEY (topic, partition_id)
);

-- Records that could not be applied. Their bytes stay in the log; the first few are kept here, in hexadecimal.
CREATE TABLE IF NOT EXISTS quarantine (
    topic TEXT NOT NULL,
    partition_id BIGINT NOT NULL,
    record_offset BIGINT NOT NULL,
    reason TEXT NOT NULL,
    record_key TEXT NOT NULL,
    value_bytes BIGINT NOT NULL,
    value_hex TEXT NOT NULL,
    PRIMARY KEY (topic, partition_id, record_offset)
);

-- For each index that was built from these tables and each partition, the next offset whose documents it lacks.
CREATE TABLE IF NOT EXISTS search_checkpoints (
    index_id TEXT NOT NULL,
    topic TEXT NOT NULL,
    partition_id BIGINT NOT NULL,
    next_offset BIGINT NOT NULL,
    PRIMARY KEY (index_id, topic, partition_id)
);

-- For each index, the highest count of applied records that one of its documents was known to have.
CREATE TABLE IF NOT EXISTS search_indexes (
    index_id TEXT NOT NULL PRIMARY KEY,
    newest BIGINT NOT NULL
);

-- For each index that is built from these tables, the vector from which the log is followed afterwards.
CREATE TABLE IF NOT EXISTS search_builds (
    index_id TEXT NOT NULL PRIMARY KEY,
    from_vector TEXT NOT NULL
);

-- The ranges of keys whose documents are written meanwhile, and whether each is: after a key, up to another one.
CREATE TABLE IF NOT EXISTS search_ranges (
    index_id TEXT NOT NULL,
    range_number BIGINT NOT NULL,
    kind TEXT NOT NULL,
    after_key TEXT,
    until_key TEXT,
    written BIGINT NOT NULL,
    PRIMARY KEY (index_id, range_number)
);

-- Documents that an index refused for good.
CREATE TABLE IF NOT EXISTS search_quarantine (
    index_id TEXT NOT NULL,
    document_id TEXT NOT NULL,
    revision BIGINT NOT NULL,
    reason TEXT NOT NULL,
    PRIMARY KEY (index_id, document_id)
);

-- The first event of each idempotency key under a record key; later ones are not applied.
CREATE TABLE IF NOT EXISTS idempotency_keys (
    record_key TEXT COLLATE "C" NOT NULL,
    idempotency_key TEXT COLLATE "C" NOT NULL,
    kind TEXT NOT NULL,
    number BIGINT NOT NULL,
    entries BIGINT NOT NULL,
    topic TEXT NOT NULL,
    partition_id BIGINT NOT NULL,
    record_offset BIGINT NOT NULL,
    PRIMARY KEY (record_key, idempotency_key)
);

-- The highest number of each sequence that any event held.
CREATE TABLE IF NOT EXISTS numbers (
    sequence TEXT NOT NULL PRIMARY KEY,
    highest BIGINT NOT NULL
);

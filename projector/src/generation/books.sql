-- For each partition, the next offset that this generation will apply.
CREATE TABLE IF NOT EXISTS checkpoints (
    topic TEXT NOT NULL,
    partition_id BIGINT NOT NULL,
    next_offset BIGINT NOT NULL,
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

-- {definition}
CREATE TABLE IF NOT EXISTS records (
    record_id TEXT NOT NULL PRIMARY KEY,
    revision BIGINT NOT NULL,
    flags TEXT NOT NULL,
    record_partition BIGINT NOT NULL,
    record_offset BIGINT NOT NULL{columns}
);

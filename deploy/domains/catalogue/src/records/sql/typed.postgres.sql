-- {definition}
CREATE TABLE IF NOT EXISTS records (
    record_id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    revision BIGINT NOT NULL,
    flags TEXT NOT NULL,
    record_partition BIGINT NOT NULL,
    record_offset BIGINT NOT NULL{columns}
);

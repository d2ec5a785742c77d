PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;

CREATE TABLE IF NOT EXISTS records (
    topic TEXT NOT NULL,
    partition_id INTEGER NOT NULL,
    record_offset INTEGER NOT NULL,
    record_key TEXT NOT NULL,
    value BLOB NOT NULL,
    compacted INTEGER NOT NULL,
    PRIMARY KEY (topic, partition_id, record_offset)
);

-- Finds the older record that a newer one of the same key replaces, in compacted topics alone.
CREATE INDEX IF NOT EXISTS records_by_key ON records (topic, partition_id, record_key)
WHERE compacted = 1;

-- One row for each record that was ever named. `raw` is what its source said, with every field; the typed table has what
-- readers see. `changed_at` is the time of the last change, in milliseconds since 1970. Reads by record id use the primary
-- keys.
CREATE TABLE IF NOT EXISTS record_state (
    record_id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    revision BIGINT NOT NULL,
    raw TEXT,
    api TEXT NOT NULL,
    flags TEXT NOT NULL,
    takedown TEXT,
    removed BIGINT NOT NULL,
    content_hash TEXT,
    changed_at BIGINT NOT NULL,
    record_partition BIGINT NOT NULL,
    record_offset BIGINT NOT NULL
);

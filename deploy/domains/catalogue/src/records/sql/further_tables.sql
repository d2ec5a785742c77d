-- The rows of further tables: one for each record that readers see and that has one. Several records may have the same
-- key; the row of the lowest record id is the one that readers see, and the next one once that is gone. `row_key` is a
-- hash of the key, so its length has a bound.
CREATE TABLE IF NOT EXISTS further_rows (
    table_name TEXT COLLATE "C" NOT NULL,
    record_id TEXT COLLATE "C" NOT NULL,
    row_key TEXT COLLATE "C" NOT NULL,
    content TEXT NOT NULL,
    PRIMARY KEY (table_name, record_id)
);
CREATE INDEX IF NOT EXISTS further_rows_by_key ON further_rows (table_name, row_key, record_id);

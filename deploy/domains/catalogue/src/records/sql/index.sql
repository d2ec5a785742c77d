-- Counts by source.
CREATE INDEX IF NOT EXISTS records_by_source ON records (source);

-- Counts by source, where the definition bounds its length.
CREATE INDEX IF NOT EXISTS records_by_source ON records (source);

SELECT collection, revision, definition, hash, note, defined_at, record_partition, record_offset
FROM definitions
ORDER BY collection, revision DESC

SELECT collection, revision, definition, hash, note, defined_at, record_partition, record_offset
FROM definitions
WHERE collection = $1
ORDER BY revision DESC

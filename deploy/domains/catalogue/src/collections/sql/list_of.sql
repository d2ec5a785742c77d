SELECT collection, revision, definition, hash, note, defined_at, record_partition, record_offset
FROM definitions
WHERE collection = $1 AND revision > $2
ORDER BY revision

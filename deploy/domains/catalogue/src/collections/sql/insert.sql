INSERT INTO definitions (collection, revision, definition, hash, note, defined_at, record_partition, record_offset)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
ON CONFLICT DO NOTHING

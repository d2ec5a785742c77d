INSERT INTO term_lists (list, revision, terms, hash, term_count, note, set_at, record_partition, record_offset)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
ON CONFLICT DO NOTHING

INSERT INTO records (record_id, revision, flags, record_partition, record_offset{columns})
VALUES ($1, $2, $3, $4, $5{parameters})
ON CONFLICT (record_id) DO UPDATE
SET revision = EXCLUDED.revision,
    flags = EXCLUDED.flags,
    record_partition = EXCLUDED.record_partition,
    record_offset = EXCLUDED.record_offset{assignments}

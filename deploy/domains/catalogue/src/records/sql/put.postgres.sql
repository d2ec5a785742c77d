INSERT INTO records (record_id, revision, flags, record_partition, record_offset{columns})
SELECT e.record_id, e.revision, e.flags, e.record_partition, e.record_offset{values}
FROM UNNEST($1::TEXT[], $2::BIGINT[], $3::TEXT[], $4::BIGINT[], $5::BIGINT[]{parameters})
    AS e (record_id, revision, flags, record_partition, record_offset{columns})
ON CONFLICT (record_id) DO UPDATE
SET revision = EXCLUDED.revision,
    flags = EXCLUDED.flags,
    record_partition = EXCLUDED.record_partition,
    record_offset = EXCLUDED.record_offset{assignments}

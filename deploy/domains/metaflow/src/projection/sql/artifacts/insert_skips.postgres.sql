INSERT INTO skips (record_partition, record_offset, entries)
SELECT e.record_partition, e.record_offset, e.entries
FROM UNNEST($1::BIGINT[], $2::BIGINT[], $3::BIGINT[])
    AS e (record_partition, record_offset, entries)

SELECT e.ordinal, EXISTS (
    SELECT 1
    FROM flows AS p
    WHERE p.flow_id = e.flow_id
    AND p.record_offset < e.record_offset
) AS has_parent
FROM UNNEST($1::TEXT[], $2::BIGINT[], $3::BIGINT[], $4::BIGINT[])
    WITH ORDINALITY AS e (flow_id, run_number, record_partition, record_offset, ordinal)
WHERE NOT EXISTS (
    SELECT 1
    FROM runs AS r
    WHERE r.run_number = e.run_number
    AND r.flow_id || '' = e.flow_id
    AND r.record_partition = e.record_partition
    AND r.record_offset = e.record_offset
)

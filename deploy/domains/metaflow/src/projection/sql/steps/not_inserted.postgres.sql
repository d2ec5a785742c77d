SELECT e.ordinal, EXISTS (
    SELECT 1
    FROM runs AS p
    WHERE p.run_number = e.run_number
    AND p.flow_id || '' = e.flow_id
    AND p.record_offset < e.record_offset
) AS has_parent
FROM UNNEST($1::TEXT[], $2::BIGINT[], $3::TEXT[], $4::BIGINT[], $5::BIGINT[])
    WITH ORDINALITY AS e (flow_id, run_number, step_name, record_partition, record_offset, ordinal)
WHERE NOT EXISTS (
    SELECT 1
    FROM steps AS s
    WHERE s.run_number = e.run_number
    AND s.step_name = e.step_name
    AND s.flow_id = e.flow_id
    AND s.record_partition = e.record_partition
    AND s.record_offset = e.record_offset
)

SELECT e.ordinal, EXISTS (
    SELECT 1
    FROM steps AS p
    WHERE p.run_number = e.run_number
    AND p.step_name = e.step_name
    AND p.flow_id = e.flow_id
    AND p.record_offset < e.record_offset
) AS has_parent
FROM UNNEST($1::TEXT[], $2::BIGINT[], $3::TEXT[], $4::BIGINT[], $5::BIGINT[], $6::BIGINT[])
    WITH ORDINALITY AS e (flow_id, run_number, step_name, task_id, record_partition, record_offset, ordinal)
WHERE NOT EXISTS (
    SELECT 1
    FROM tasks AS t
    WHERE t.task_id = e.task_id
    AND t.flow_id = e.flow_id
    AND t.record_partition = e.record_partition
    AND t.record_offset = e.record_offset
)

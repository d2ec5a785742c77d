SELECT e.ordinal
FROM UNNEST($1::TEXT[], $2::BIGINT[], $3::TEXT[], $4::BIGINT[], $5::BIGINT[])
    WITH ORDINALITY AS e (flow_id, run_number, step_name, task_id, record_offset, ordinal)
WHERE NOT EXISTS (
    SELECT 1
    FROM tasks AS p
    WHERE p.task_id = e.task_id
    AND p.flow_id = e.flow_id
    AND p.run_number + 0 = e.run_number
    AND p.step_name || '' = e.step_name
    AND p.record_offset < e.record_offset
)

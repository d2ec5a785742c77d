SELECT e.ordinal, t.task_id
FROM UNNEST($1::BIGINT[], $2::TEXT[], $3::TEXT[], $4::TEXT[])
    WITH ORDINALITY AS e (run_number, step_name, task_name, flow_id, ordinal)
INNER JOIN tasks AS t
    ON t.run_number = e.run_number
    AND t.step_name = e.step_name
    AND t.task_name = e.task_name
    AND t.flow_id = e.flow_id

SELECT a.flow_id, a.ts_epoch, a.user_name, r.system_tags, a.run_number, r.run_id,
    a.step_name, a.task_id, a.task_name, a.name, a.attempt_id
FROM UNNEST($1::BIGINT[], $2::BIGINT[], $3::TEXT[], $4::TEXT[]) AS e (task_id, attempt_id, name, flow_id)
INNER JOIN artifacts AS a
    ON a.task_id = e.task_id
    AND a.attempt_id = e.attempt_id
    AND a.name = e.name
    AND a.flow_id = e.flow_id
INNER JOIN runs AS r
    ON r.run_number = a.run_number
    AND r.flow_id || '' = a.flow_id

SELECT a.task_id, a.attempt_id, a.name, a.flow_id
FROM UNNEST($1::BIGINT[], $2::TEXT[]) AS e (task_id, flow_id)
INNER JOIN artifacts AS a
    ON a.task_id = e.task_id
    AND a.flow_id = e.flow_id

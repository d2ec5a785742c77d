UPDATE tasks AS t
SET latest_attempt = e.attempt
FROM UNNEST($1::BIGINT[], $2::TEXT[], $3::BIGINT[])
    AS e (task_id, flow_id, attempt)
WHERE t.task_id = e.task_id
AND t.flow_id = e.flow_id
AND t.latest_attempt < e.attempt

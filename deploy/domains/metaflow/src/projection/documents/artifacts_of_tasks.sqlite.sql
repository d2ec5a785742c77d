SELECT a.task_id, a.attempt_id, a.name, a.flow_id
FROM artifacts AS a
WHERE a.task_id = $1
AND a.flow_id = $2

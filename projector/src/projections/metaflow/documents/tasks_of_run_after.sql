SELECT t.task_id, t.flow_id
FROM tasks AS t
WHERE t.run_number = $1
AND t.flow_id = $2
AND t.task_id > $3
ORDER BY t.task_id
LIMIT $4

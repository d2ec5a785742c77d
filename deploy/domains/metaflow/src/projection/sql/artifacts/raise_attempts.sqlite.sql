UPDATE tasks
SET latest_attempt = $3
WHERE task_id = $1
AND flow_id = $2
AND latest_attempt < $3

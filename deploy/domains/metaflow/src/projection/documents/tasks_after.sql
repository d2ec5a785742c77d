SELECT t.task_id, t.flow_id
FROM tasks AS t
WHERE (t.task_id, t.flow_id) > ($1, $2)
ORDER BY t.task_id, t.flow_id
LIMIT $3
OFFSET $4

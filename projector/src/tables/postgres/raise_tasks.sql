SELECT setval('task_ids', $1)
FROM task_ids
WHERE $1 > 0
AND (last_value < $1 OR NOT is_called)

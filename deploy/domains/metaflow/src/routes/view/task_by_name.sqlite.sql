SELECT $5 AS ordinal, t.task_id
FROM tasks AS t
WHERE t.run_number = $1
AND t.step_name = $2
AND t.task_name = $3
AND t.flow_id = $4

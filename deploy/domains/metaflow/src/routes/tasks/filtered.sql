SELECT t.task_id, t.task_name, m.value
FROM tasks AS t
INNER JOIN metadata AS m
    ON m.task_id = t.task_id
    AND m.flow_id = t.flow_id
WHERE t.flow_id = $1
AND t.run_number = $2
AND t.step_name = $3
AND (CAST($4 AS TEXT) IS NULL OR m.field_name = $4)
ORDER BY t.task_id

SELECT m.step_name, m.task_id, m.task_name, m.id, m.field_name, m.value, m.type, m.user_name, m.ts_epoch, m.tags,
    m.system_tags
FROM tasks AS t
INNER JOIN metadata AS m
    ON m.task_id = t.task_id
    AND m.flow_id = t.flow_id
WHERE t.flow_id = $1
AND t.run_number = $2
AND (m.ts_epoch, m.id) < ($3, $4)
ORDER BY m.ts_epoch DESC, m.id DESC
LIMIT $5

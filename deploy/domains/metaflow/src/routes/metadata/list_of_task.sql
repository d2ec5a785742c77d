SELECT m.step_name, m.task_id, m.task_name, m.id, m.field_name, m.value, m.type, m.user_name, m.ts_epoch, m.tags,
    m.system_tags
FROM metadata AS m
WHERE m.flow_id = $1
AND m.run_number = $2
AND m.step_name = $3
AND m.task_id = $4
AND (m.ts_epoch, m.id) < ($5, $6)
ORDER BY m.ts_epoch DESC, m.id DESC
LIMIT $7

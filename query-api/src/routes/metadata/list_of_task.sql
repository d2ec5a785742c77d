SELECT m.id, m.flow_id, m.run_number, r.run_id, m.step_name, m.task_id, m.task_name, m.field_name, m.value, m.type,
    m.user_name, m.ts_epoch, m.tags, m.system_tags
FROM metadata AS m
INNER JOIN runs AS r
    ON r.run_number = m.run_number
    AND r.flow_id || '' = m.flow_id
WHERE m.flow_id = $1
AND m.run_number = $2
AND m.step_name = $3
AND m.task_id = $4
AND (m.ts_epoch, m.id) < ($5, $6)
ORDER BY m.ts_epoch DESC, m.id DESC
LIMIT $7

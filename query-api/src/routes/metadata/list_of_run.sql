SELECT m.id, m.flow_id, m.run_number, r.run_id, m.step_name, m.task_id, m.task_name, m.field_name, m.value, m.type,
    m.user_name, m.ts_epoch, m.tags, m.system_tags
FROM tasks AS t
INNER JOIN metadata AS m
    ON m.task_id = t.task_id
    AND m.flow_id = t.flow_id
INNER JOIN runs AS r
    ON r.run_number = m.run_number
    AND r.flow_id || '' = m.flow_id
WHERE t.flow_id = $1
AND t.run_number = $2
AND (m.ts_epoch, m.id) < ($3, $4)
ORDER BY m.ts_epoch DESC, m.id DESC
LIMIT $5

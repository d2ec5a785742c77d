SELECT r.flow_id, r.run_number, r.run_id, r.user_name, r.ts_epoch, r.tags, r.system_tags,
    r.heartbeat_at, h.beat_at,
    (
        SELECT m.value
        FROM tasks AS t
        INNER JOIN metadata AS m
            ON m.task_id = t.task_id
            AND m.flow_id = t.flow_id
        WHERE t.run_number = r.run_number
        AND t.step_name = 'end'
        AND t.flow_id = r.flow_id
        AND m.field_name = 'attempt_ok'
        ORDER BY m.ts_epoch DESC, m.id DESC
        LIMIT 1
    ),
    (
        SELECT m.ts_epoch
        FROM tasks AS t
        INNER JOIN metadata AS m
            ON m.task_id = t.task_id
            AND m.flow_id = t.flow_id
        WHERE t.run_number = r.run_number
        AND t.step_name = 'end'
        AND t.flow_id = r.flow_id
        AND m.field_name = 'attempt_ok'
        ORDER BY m.ts_epoch DESC, m.id DESC
        LIMIT 1
    ),
    (
        SELECT m.ts_epoch
        FROM tasks AS t
        INNER JOIN metadata AS m
            ON m.task_id = t.task_id
            AND m.flow_id = t.flow_id
        WHERE t.run_number = r.run_number
        AND t.step_name = 'end'
        AND t.flow_id = r.flow_id
        AND m.field_name = 'attempt'
        ORDER BY m.ts_epoch DESC, m.id DESC
        LIMIT 1
    )
FROM runs AS r
LEFT JOIN run_heartbeats AS h
    ON h.run_number = r.run_number
    AND h.flow_id = r.flow_id
WHERE r.flow_id = $1
AND (r.ts_epoch, r.run_number) < ($2, $3)
ORDER BY r.ts_epoch DESC, r.run_number DESC
LIMIT $4

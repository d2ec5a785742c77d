SELECT $3 AS ordinal,
    (
        SELECT m.value
        FROM tasks AS t
        INNER JOIN metadata AS m
            ON m.task_id = t.task_id
            AND m.flow_id = t.flow_id
        WHERE t.run_number = $1
        AND t.step_name = 'end'
        AND t.flow_id = $2
        AND m.field_name = 'attempt_ok'
        ORDER BY m.ts_epoch DESC, m.id DESC
        LIMIT 1
    ) AS ok,
    (
        SELECT m.ts_epoch
        FROM tasks AS t
        INNER JOIN metadata AS m
            ON m.task_id = t.task_id
            AND m.flow_id = t.flow_id
        WHERE t.run_number = $1
        AND t.step_name = 'end'
        AND t.flow_id = $2
        AND m.field_name = 'attempt_ok'
        ORDER BY m.ts_epoch DESC, m.id DESC
        LIMIT 1
    ) AS ok_at,
    (
        SELECT m.ts_epoch
        FROM tasks AS t
        INNER JOIN metadata AS m
            ON m.task_id = t.task_id
            AND m.flow_id = t.flow_id
        WHERE t.run_number = $1
        AND t.step_name = 'end'
        AND t.flow_id = $2
        AND m.field_name = 'attempt'
        ORDER BY m.ts_epoch DESC, m.id DESC
        LIMIT 1
    ) AS attempt_at

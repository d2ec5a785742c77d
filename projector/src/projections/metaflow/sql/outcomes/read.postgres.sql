SELECT e.ordinal,
    (
        SELECT m.value
        FROM tasks AS t
        INNER JOIN metadata AS m
            ON m.task_id = t.task_id
            AND m.flow_id = t.flow_id
        WHERE t.run_number = e.run_number
        AND t.step_name = 'end'
        AND t.flow_id = e.flow_id
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
        WHERE t.run_number = e.run_number
        AND t.step_name = 'end'
        AND t.flow_id = e.flow_id
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
        WHERE t.run_number = e.run_number
        AND t.step_name = 'end'
        AND t.flow_id = e.flow_id
        AND m.field_name = 'attempt'
        ORDER BY m.ts_epoch DESC, m.id DESC
        LIMIT 1
    ) AS attempt_at
FROM UNNEST($1::BIGINT[], $2::TEXT[])
    WITH ORDINALITY AS e (run_number, flow_id, ordinal)

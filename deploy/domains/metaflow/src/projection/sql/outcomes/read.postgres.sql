SELECT e.ordinal, o.ok, o.ok_at, o.attempt_at
FROM UNNEST($1::BIGINT[], $2::TEXT[])
    WITH ORDINALITY AS e (run_number, flow_id, ordinal)
CROSS JOIN LATERAL (
    SELECT
        MAX(n.value) FILTER (WHERE n.field_name = 'attempt_ok') AS ok,
        MAX(n.ts_epoch) FILTER (WHERE n.field_name = 'attempt_ok') AS ok_at,
        MAX(n.ts_epoch) FILTER (WHERE n.field_name = 'attempt') AS attempt_at
    FROM (
        SELECT m.field_name, m.value, m.ts_epoch,
            ROW_NUMBER() OVER (PARTITION BY m.field_name ORDER BY m.ts_epoch DESC, m.id DESC) AS place
        FROM tasks AS t
        INNER JOIN metadata AS m
            ON m.task_id = t.task_id
            AND m.flow_id = t.flow_id
        WHERE t.run_number = e.run_number
        AND t.step_name = 'end'
        AND t.flow_id = e.flow_id
        AND m.field_name IN ('attempt_ok', 'attempt')
    ) AS n
    WHERE n.place = 1
) AS o

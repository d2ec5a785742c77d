SELECT t.flow_id, t.ts_epoch, t.user_name, r.system_tags, t.run_number, r.run_id, t.step_name, t.task_id, t.task_name,
    1 + (
        SELECT COUNT(*)
        FROM artifacts AS a
        WHERE a.task_id = t.task_id
        AND a.flow_id = t.flow_id
    ) + (
        SELECT COUNT(*)
        FROM metadata AS m
        WHERE m.task_id = t.task_id
        AND m.flow_id = t.flow_id
    ) AS revision,
    (
        SELECT JSON_GROUP_ARRAY(n.name ORDER BY n.name)
        FROM (
            SELECT a.name
            FROM artifacts AS a
            WHERE a.task_id = t.task_id
            AND a.flow_id = t.flow_id
            ORDER BY a.attempt_id DESC, a.name DESC
            LIMIT 1000
        ) AS n
    ) AS artifacts,
    (
        SELECT JSON_GROUP_ARRAY(JSON_ARRAY(n.field_name, n.value, n.ts_epoch) ORDER BY n.ts_epoch, n.id)
        FROM (
            SELECT m.field_name, SUBSTR(m.value, 1, 4097) AS value, m.ts_epoch, m.id
            FROM metadata AS m
            WHERE m.task_id = t.task_id
            AND m.flow_id = t.flow_id
            ORDER BY m.ts_epoch DESC, m.id DESC
            LIMIT 250
        ) AS n
    ) AS metadata
FROM tasks AS t
INNER JOIN runs AS r
    ON r.run_number = t.run_number
    AND r.flow_id || '' = t.flow_id
WHERE t.task_id = $1
AND t.flow_id = $2

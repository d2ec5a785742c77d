SELECT $7 AS ordinal, EXISTS (
    SELECT 1
    FROM steps AS p
    WHERE p.run_number = $2
    AND p.step_name = $3
    AND p.flow_id = $1
    AND p.record_offset < $6
) AS has_parent
WHERE NOT EXISTS (
    SELECT 1
    FROM tasks AS t
    WHERE t.task_id = $4
    AND t.flow_id = $1
    AND t.record_partition = $5
    AND t.record_offset = $6
)

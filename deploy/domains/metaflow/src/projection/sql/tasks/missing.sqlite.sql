SELECT $6 AS ordinal
WHERE NOT EXISTS (
    SELECT 1
    FROM tasks AS p
    WHERE p.flow_id = $1
    AND p.run_number = $2
    AND p.step_name = $3
    AND p.task_id = $4
    AND p.record_offset < $5
)

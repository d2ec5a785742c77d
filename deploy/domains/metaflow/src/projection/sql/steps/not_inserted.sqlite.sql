SELECT $6 AS ordinal, EXISTS (
    SELECT 1
    FROM runs AS p
    WHERE p.run_number = $2
    AND p.flow_id = $1
    AND p.record_offset < $5
) AS has_parent
WHERE NOT EXISTS (
    SELECT 1
    FROM steps AS s
    WHERE s.run_number = $2
    AND s.step_name = $3
    AND s.flow_id = $1
    AND s.record_partition = $4
    AND s.record_offset = $5
)

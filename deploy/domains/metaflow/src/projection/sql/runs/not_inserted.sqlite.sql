SELECT $5 AS ordinal, EXISTS (
    SELECT 1
    FROM flows AS p
    WHERE p.flow_id = $1
    AND p.record_offset < $4
) AS has_parent
WHERE NOT EXISTS (
    SELECT 1
    FROM runs AS r
    WHERE r.run_number = $2
    AND r.flow_id = $1
    AND r.record_partition = $3
    AND r.record_offset = $4
)

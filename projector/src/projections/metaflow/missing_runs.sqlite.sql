SELECT $4 AS ordinal
WHERE NOT EXISTS (
    SELECT 1
    FROM runs AS p
    WHERE p.flow_id = $1
    AND p.run_number = $2
    AND p.record_offset < $3
)

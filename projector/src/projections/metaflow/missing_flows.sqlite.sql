SELECT $3 AS ordinal
WHERE NOT EXISTS (
    SELECT 1
    FROM flows AS p
    WHERE p.flow_id = $1
    AND p.record_offset < $2
)

SELECT $4 AS ordinal, TRUE AS has_parent
WHERE NOT EXISTS (
    SELECT 1
    FROM flows AS f
    WHERE f.flow_id = $1
    AND f.record_partition = $2
    AND f.record_offset = $3
)

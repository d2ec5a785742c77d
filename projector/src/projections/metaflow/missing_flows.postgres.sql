SELECT e.ordinal
FROM UNNEST($1::TEXT[], $2::BIGINT[])
    WITH ORDINALITY AS e (flow_id, record_offset, ordinal)
WHERE NOT EXISTS (
    SELECT 1
    FROM flows AS p
    WHERE p.flow_id = e.flow_id
    AND p.record_offset < e.record_offset
)

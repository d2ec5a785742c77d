SELECT e.ordinal, TRUE AS has_parent
FROM UNNEST($1::TEXT[], $2::BIGINT[], $3::BIGINT[])
    WITH ORDINALITY AS e (flow_id, record_partition, record_offset, ordinal)
WHERE NOT EXISTS (
    SELECT 1
    FROM flows AS f
    WHERE f.flow_id = e.flow_id
    AND f.record_partition = e.record_partition
    AND f.record_offset = e.record_offset
)

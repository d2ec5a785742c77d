SELECT e.ordinal, COUNT(a.name) AS artifacts
FROM UNNEST($1::TEXT[], $2::BIGINT[], $3::BIGINT[], $4::BIGINT[])
    WITH ORDINALITY AS e (flow_id, task_id, record_partition, record_offset, ordinal)
LEFT JOIN artifacts AS a
    ON a.task_id = e.task_id
    AND a.flow_id = e.flow_id
    AND a.record_partition = e.record_partition
    AND a.record_offset = e.record_offset
GROUP BY e.ordinal

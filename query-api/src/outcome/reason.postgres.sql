SELECT e.ordinal, q.reason
FROM UNNEST($1::TEXT[], $2::BIGINT[], $3::BIGINT[])
    WITH ORDINALITY AS e (topic, partition_id, record_offset, ordinal)
INNER JOIN quarantine AS q
    ON q.topic = e.topic
    AND q.partition_id = e.partition_id
    AND q.record_offset = e.record_offset

INSERT INTO checkpoints (topic, partition_id, next_offset, record_offset, record_hash)
SELECT e.topic, e.partition_id, 0, -1, ''
FROM UNNEST($1::TEXT[], $2::BIGINT[]) AS e (topic, partition_id)
ON CONFLICT DO NOTHING

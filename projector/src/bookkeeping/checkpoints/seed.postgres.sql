INSERT INTO checkpoints (topic, partition_id, next_offset, record_offset, record_hash, is_live)
SELECT e.topic, e.partition_id, 0, -1, '', e.is_live
FROM UNNEST($1::TEXT[], $2::BIGINT[], $3::BIGINT[]) AS e (topic, partition_id, is_live)
ON CONFLICT DO NOTHING

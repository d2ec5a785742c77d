INSERT INTO search_checkpoints (index_id, topic, partition_id, next_offset)
SELECT e.index_id, e.topic, e.partition_id, e.next_offset
FROM UNNEST($1::TEXT[], $2::TEXT[], $3::BIGINT[], $4::BIGINT[]) AS e (index_id, topic, partition_id, next_offset)
ON CONFLICT (index_id, topic, partition_id) DO UPDATE
SET next_offset = EXCLUDED.next_offset
WHERE search_checkpoints.next_offset < EXCLUDED.next_offset

INSERT INTO search_checkpoints (index_id, topic, partition_id, next_offset)
VALUES ($1, $2, $3, $4)
ON CONFLICT (index_id, topic, partition_id) DO UPDATE
SET next_offset = EXCLUDED.next_offset
WHERE search_checkpoints.next_offset < EXCLUDED.next_offset

INSERT INTO checkpoints (topic, partition_id, next_offset, record_offset, record_hash)
VALUES ($1, $2, 0, -1, '')
ON CONFLICT DO NOTHING

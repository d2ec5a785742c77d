INSERT INTO checkpoints (topic, partition_id, next_offset, record_offset, record_hash, is_live)
VALUES ($1, $2, 0, -1, '', $3)
ON CONFLICT DO NOTHING

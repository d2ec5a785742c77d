INSERT INTO checkpoints (topic, partition_id, next_offset)
VALUES ($1, $2, 0)
ON CONFLICT DO NOTHING

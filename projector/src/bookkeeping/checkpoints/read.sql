SELECT topic, partition_id, next_offset
FROM checkpoints
ORDER BY topic, partition_id

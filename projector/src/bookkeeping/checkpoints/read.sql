SELECT topic, partition_id, next_offset, record_offset, record_hash, is_live
FROM checkpoints
ORDER BY topic, partition_id

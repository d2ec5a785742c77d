SELECT topic, partition_id, next_offset
FROM search_checkpoints
WHERE index_id = $1
ORDER BY topic, partition_id

SELECT topic, partition_id, record_offset, reason, record_key, value_bytes, value_hex
FROM quarantine
WHERE (topic, partition_id, record_offset) > ($1, $2, $3)
ORDER BY topic, partition_id, record_offset
LIMIT $4

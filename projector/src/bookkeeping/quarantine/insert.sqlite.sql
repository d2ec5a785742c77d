INSERT INTO quarantine (topic, partition_id, record_offset, reason, record_key, value_bytes, value_hex)
VALUES ($1, $2, $3, $4, $5, $6, $7)

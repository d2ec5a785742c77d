INSERT INTO idempotency_keys (record_key, idempotency_key, kind, number, entries, topic, partition_id, record_offset)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
ON CONFLICT DO NOTHING

INSERT INTO requests (flow_id, idempotency_key, kind, number, entries, record_partition, record_offset)
VALUES ($1, $2, $3, $4, $5, $6, $7)

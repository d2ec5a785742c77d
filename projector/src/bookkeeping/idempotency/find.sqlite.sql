SELECT $3 AS ordinal, k.kind, k.number, k.entries, k.topic, k.partition_id, k.record_offset
FROM idempotency_keys AS k
WHERE k.record_key = $1
AND k.idempotency_key = $2

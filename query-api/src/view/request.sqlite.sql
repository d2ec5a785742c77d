SELECT $3 AS ordinal, q.kind, q.number, q.entries, q.record_partition, q.record_offset
FROM requests AS q
WHERE q.flow_id = $1
AND q.idempotency_key = $2

SELECT e.ordinal, k.kind, k.number, k.entries, k.topic, k.partition_id, k.record_offset
FROM UNNEST($1::TEXT[], $2::TEXT[])
    WITH ORDINALITY AS e (record_key, idempotency_key, ordinal)
INNER JOIN idempotency_keys AS k
    ON k.record_key = e.record_key
    AND k.idempotency_key = e.idempotency_key

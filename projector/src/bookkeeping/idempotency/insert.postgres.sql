INSERT INTO idempotency_keys (record_key, idempotency_key, kind, number, entries, topic, partition_id, record_offset)
SELECT e.record_key, e.idempotency_key, e.kind, e.number, e.entries, e.topic, e.partition_id, e.record_offset
FROM UNNEST($1::TEXT[], $2::TEXT[], $3::TEXT[], $4::BIGINT[], $5::BIGINT[], $6::TEXT[], $7::BIGINT[], $8::BIGINT[])
    AS e (record_key, idempotency_key, kind, number, entries, topic, partition_id, record_offset)
ON CONFLICT DO NOTHING

INSERT INTO requests (flow_id, idempotency_key, kind, number, entries, record_partition, record_offset)
SELECT e.flow_id, e.idempotency_key, e.kind, e.number, e.entries, e.record_partition, e.record_offset
FROM UNNEST($1::TEXT[], $2::TEXT[], $3::TEXT[], $4::BIGINT[], $5::BIGINT[], $6::BIGINT[], $7::BIGINT[])
    AS e (flow_id, idempotency_key, kind, number, entries, record_partition, record_offset)

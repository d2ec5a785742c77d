SELECT e.ordinal, q.kind, q.number, q.entries, q.record_partition, q.record_offset
FROM UNNEST($1::TEXT[], $2::TEXT[])
    WITH ORDINALITY AS e (flow_id, idempotency_key, ordinal)
INNER JOIN requests AS q
    ON q.flow_id = e.flow_id
    AND q.idempotency_key = e.idempotency_key

SELECT e.ordinal
FROM UNNEST($1::TEXT[], $2::TEXT[])
    WITH ORDINALITY AS e (flow_id, idempotency_key, ordinal)
INNER JOIN requests AS r
    ON r.flow_id = e.flow_id
    AND r.idempotency_key = e.idempotency_key

SELECT $3 AS ordinal
FROM requests AS r
WHERE r.flow_id = $1
AND r.idempotency_key = $2

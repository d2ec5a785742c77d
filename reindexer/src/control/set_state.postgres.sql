UPDATE generations
SET state = $3,
    reason = $4,
    changed_at = (EXTRACT(EPOCH FROM CLOCK_TIMESTAMP()) * 1000)::BIGINT
WHERE domain = $1
AND generation = $2

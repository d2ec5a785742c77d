UPDATE generations
SET state = $3,
    reason = $4,
    stopped = '',
    began_at = CASE WHEN state IN ('ready', 'failed') THEN (EXTRACT(EPOCH FROM STATEMENT_TIMESTAMP()) * 1000)::BIGINT ELSE began_at END,
    changed_at = (EXTRACT(EPOCH FROM STATEMENT_TIMESTAMP()) * 1000)::BIGINT
WHERE domain = $1
AND generation = $2

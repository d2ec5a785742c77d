UPDATE generations
SET state = $3,
    reason = $4,
    stopped = '',
    began_at = CASE WHEN state IN ('ready', 'failed') THEN CAST(UNIXEPOCH('subsec') * 1000 AS INTEGER) ELSE began_at END,
    changed_at = CAST(UNIXEPOCH('subsec') * 1000 AS INTEGER)
WHERE domain = $1
AND generation = $2

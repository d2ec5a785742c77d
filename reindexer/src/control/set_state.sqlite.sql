UPDATE generations
SET state = $3,
    reason = $4,
    changed_at = CAST(UNIXEPOCH('subsec') * 1000 AS INTEGER)
WHERE domain = $1
AND generation = $2

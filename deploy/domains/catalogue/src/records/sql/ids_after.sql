SELECT s.record_id
FROM record_state AS s
WHERE s.record_id > $1
ORDER BY s.record_id
LIMIT $2
OFFSET $3

SELECT f.flow_id
FROM flows AS f
WHERE f.flow_id > $1
ORDER BY f.flow_id
LIMIT $2
OFFSET $3

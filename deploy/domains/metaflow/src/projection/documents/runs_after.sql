SELECT r.run_number, r.flow_id
FROM runs AS r
WHERE (r.run_number, r.flow_id) > ($1, $2)
ORDER BY r.run_number, r.flow_id
LIMIT $3
OFFSET $4

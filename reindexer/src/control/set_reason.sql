UPDATE generations
SET reason = $4
WHERE domain = $1
AND generation = $2
AND state = $3

UPDATE generations
SET state = $3
WHERE domain = $1
AND generation = $2

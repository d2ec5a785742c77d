UPDATE generations
SET goal = $3
WHERE domain = $1
AND generation = $2

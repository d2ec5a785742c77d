UPDATE generations
SET stopped = $3
WHERE domain = $1
AND generation = $2

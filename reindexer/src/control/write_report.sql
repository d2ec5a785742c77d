UPDATE generations
SET report = $3
WHERE domain = $1
AND generation = $2

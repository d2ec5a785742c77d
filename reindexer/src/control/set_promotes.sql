UPDATE generations
SET promotes = $3
WHERE domain = $1
AND generation = $2

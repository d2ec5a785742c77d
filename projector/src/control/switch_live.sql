UPDATE live
SET generation = $3
WHERE domain = $1
AND generation = $2

SELECT report
FROM generations
WHERE domain = $1
AND generation = $2

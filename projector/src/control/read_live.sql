SELECT generation
FROM live
WHERE domain = $1

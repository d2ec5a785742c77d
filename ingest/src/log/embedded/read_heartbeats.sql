SELECT "offset", key, value
FROM heartbeats
WHERE "offset" >= ?1
ORDER BY "offset"
LIMIT ?2

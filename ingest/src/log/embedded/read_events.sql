SELECT "offset", key, value
FROM events
WHERE "offset" >= ?1
ORDER BY "offset"
LIMIT ?2

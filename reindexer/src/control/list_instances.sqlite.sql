SELECT instance, roles, topics, expires_at > CAST(UNIXEPOCH('subsec') * 1000 AS INTEGER) AS leased, 1 AS connected
FROM instances
ORDER BY instance

SELECT instance, roles, 1 AS connected
FROM instances
WHERE expires_at > CAST(UNIXEPOCH('subsec') * 1000 AS INTEGER)
ORDER BY instance

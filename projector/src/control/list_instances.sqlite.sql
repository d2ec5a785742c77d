SELECT instance, roles
FROM instances
WHERE expires_at > CAST(UNIXEPOCH('subsec') * 1000 AS INTEGER)
ORDER BY instance

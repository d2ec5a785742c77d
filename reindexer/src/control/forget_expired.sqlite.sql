DELETE FROM instances
WHERE expires_at < CAST(UNIXEPOCH('subsec') * 1000 AS INTEGER) - $1

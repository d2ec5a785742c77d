INSERT INTO instances (instance, roles, topics, expires_at)
VALUES ($1, $2, $3, CAST(UNIXEPOCH('subsec') * 1000 AS INTEGER) + $4)
ON CONFLICT (instance) DO UPDATE
SET expires_at = EXCLUDED.expires_at

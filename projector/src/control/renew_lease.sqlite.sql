INSERT INTO instances (instance, roles, expires_at)
VALUES ($1, $2, CAST(UNIXEPOCH('subsec') * 1000 AS INTEGER) + $3)
ON CONFLICT (instance) DO UPDATE
SET expires_at = EXCLUDED.expires_at

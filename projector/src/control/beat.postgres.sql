INSERT INTO instances (instance, roles, expires_at)
VALUES ($1, $2, (EXTRACT(EPOCH FROM CLOCK_TIMESTAMP()) * 1000)::BIGINT + $3)
ON CONFLICT (instance) DO UPDATE
SET expires_at = EXCLUDED.expires_at

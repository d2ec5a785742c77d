INSERT INTO instances (instance, roles, topics, number, expires_at)
VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (instance) DO UPDATE
SET topics = EXCLUDED.topics,
    number = EXCLUDED.number,
    expires_at = EXCLUDED.expires_at

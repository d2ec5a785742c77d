-- The lock belongs to the connection that renews: it ends with the process, before the lease expires.
INSERT INTO instances (instance, roles, topics, number, expires_at)
SELECT $1::TEXT, $2::TEXT, $3::TEXT, $4::BIGINT, $5::BIGINT
FROM (SELECT PG_TRY_ADVISORY_LOCK(HASHTEXT(CURRENT_SCHEMA()), HASHTEXT($1::TEXT))) AS held
ON CONFLICT (instance) DO UPDATE
SET topics = EXCLUDED.topics,
    number = EXCLUDED.number,
    expires_at = EXCLUDED.expires_at

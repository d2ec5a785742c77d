SELECT instance, roles
FROM instances
WHERE expires_at > (EXTRACT(EPOCH FROM CLOCK_TIMESTAMP()) * 1000)::BIGINT
ORDER BY instance

SELECT
    i.instance,
    i.roles,
    i.topics,
    CASE
        WHEN i.expires_at > (EXTRACT(EPOCH FROM CLOCK_TIMESTAMP()) * 1000)::BIGINT THEN 1::BIGINT
        ELSE 0::BIGINT
    END AS leased,
    CASE
        WHEN EXISTS (
            SELECT 1
            FROM pg_locks AS l
            INNER JOIN pg_database AS d ON d.oid = l.database
            WHERE d.datname = CURRENT_DATABASE()
            AND l.locktype = 'advisory'
            AND l.classid = HASHTEXT(CURRENT_SCHEMA())::OID
            AND l.objid = HASHTEXT(i.instance)::OID
        ) THEN 1::BIGINT
        ELSE 0::BIGINT
    END AS connected,
    COALESCE(r.milliseconds, 0::BIGINT) AS reads_ms
FROM instances AS i
LEFT JOIN read_latencies AS r ON r.instance = i.instance
ORDER BY i.instance

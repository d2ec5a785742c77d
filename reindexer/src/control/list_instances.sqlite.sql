SELECT
    i.instance,
    i.roles,
    i.topics,
    i.expires_at > CAST(UNIXEPOCH('subsec') * 1000 AS INTEGER) AS leased,
    1 AS connected,
    COALESCE(r.milliseconds, 0) AS reads_ms
FROM instances AS i
LEFT JOIN read_latencies AS r ON r.instance = i.instance
ORDER BY i.instance

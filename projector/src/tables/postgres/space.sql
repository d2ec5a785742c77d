SELECT COALESCE(SUM(PG_TOTAL_RELATION_SIZE(pg_class.oid)), 0)::BIGINT AS bytes
FROM pg_class
JOIN pg_namespace ON pg_namespace.oid = pg_class.relnamespace
WHERE pg_class.relkind = 'r'
AND pg_namespace.nspname = $1

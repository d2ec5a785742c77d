-- The index of a key is listed as that key. What stands before USING names the schema.
SELECT t.relname::TEXT AS table_name, i.relname::TEXT AS name,
    CASE WHEN x.indisunique THEN 'UNIQUE INDEX' ELSE 'INDEX' END
        || SUBSTRING(PG_GET_INDEXDEF(x.indexrelid) FROM ' USING .*') AS definition,
    x.indisvalid AS is_valid
FROM pg_index AS x
JOIN pg_class AS i ON i.oid = x.indexrelid
JOIN pg_class AS t ON t.oid = x.indrelid
JOIN pg_namespace AS n ON n.oid = t.relnamespace
WHERE n.nspname = CURRENT_SCHEMA()
AND NOT EXISTS (
    SELECT 1
    FROM pg_constraint AS c
    WHERE c.conindid = x.indexrelid
    AND c.contype IN ('p', 'u', 'x')
)
UNION ALL
SELECT t.relname::TEXT, c.conname::TEXT, PG_GET_CONSTRAINTDEF(c.oid), TRUE
FROM pg_constraint AS c
JOIN pg_class AS t ON t.oid = c.conrelid
JOIN pg_namespace AS n ON n.oid = t.relnamespace
WHERE n.nspname = CURRENT_SCHEMA()

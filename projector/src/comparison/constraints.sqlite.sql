-- The index of a key has no text: its columns are listed.
SELECT t.name AS table_name, i.name AS name,
    COALESCE(
        REPLACE(m.sql, CHAR(10), ' '),
        CASE i.origin WHEN 'pk' THEN 'PRIMARY KEY (' ELSE 'UNIQUE (' END
            || (SELECT GROUP_CONCAT(c.name, ', ') FROM PRAGMA_INDEX_INFO(i.name) AS c) || ')'
    ) AS definition,
    TRUE AS is_valid
FROM sqlite_master AS t
JOIN PRAGMA_INDEX_LIST(t.name) AS i
LEFT JOIN sqlite_master AS m ON m.type = 'index' AND m.name = i.name
WHERE t.type = 'table'

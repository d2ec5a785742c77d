SELECT a.attname::TEXT AS name
FROM pg_attribute AS a
WHERE a.attrelid = TO_REGCLASS($1::TEXT)
AND a.attnum > 0
AND NOT a.attisdropped
ORDER BY a.attnum

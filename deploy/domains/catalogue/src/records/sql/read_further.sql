SELECT f.row_key, f.record_id, f.content
FROM further_rows AS f
WHERE f.table_name = $1 AND f.row_key = $2
ORDER BY f.record_id
LIMIT 1

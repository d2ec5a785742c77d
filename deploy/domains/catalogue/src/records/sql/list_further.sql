SELECT f.row_key, f.record_id, f.content
FROM further_rows AS f
WHERE f.table_name = $1
    AND f.row_key > $2
    AND NOT EXISTS (
        SELECT 1
        FROM further_rows AS earlier
        WHERE earlier.table_name = f.table_name AND earlier.row_key = f.row_key AND earlier.record_id < f.record_id
    )
ORDER BY f.row_key
LIMIT $3

INSERT INTO further_rows (table_name, record_id, row_key, content)
VALUES ($1, $2, $3, $4)
ON CONFLICT (table_name, record_id) DO UPDATE
SET row_key = EXCLUDED.row_key,
    content = EXCLUDED.content
WHERE further_rows.row_key <> EXCLUDED.row_key OR further_rows.content <> EXCLUDED.content

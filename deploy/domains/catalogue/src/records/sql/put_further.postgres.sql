INSERT INTO further_rows (table_name, record_id, row_key, content)
SELECT e.table_name, e.record_id, e.row_key, e.content
FROM UNNEST($1::TEXT[], $2::TEXT[], $3::TEXT[], $4::TEXT[]) AS e (table_name, record_id, row_key, content)
ON CONFLICT (table_name, record_id) DO UPDATE
SET row_key = EXCLUDED.row_key,
    content = EXCLUDED.content
WHERE further_rows.row_key <> EXCLUDED.row_key OR further_rows.content <> EXCLUDED.content

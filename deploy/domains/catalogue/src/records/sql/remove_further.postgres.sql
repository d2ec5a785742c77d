DELETE FROM further_rows
USING UNNEST($1::TEXT[], $2::TEXT[]) AS e (table_name, record_id)
WHERE further_rows.table_name = e.table_name AND further_rows.record_id = e.record_id

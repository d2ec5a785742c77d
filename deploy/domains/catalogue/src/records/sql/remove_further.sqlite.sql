DELETE FROM further_rows
WHERE table_name = $1 AND record_id = $2

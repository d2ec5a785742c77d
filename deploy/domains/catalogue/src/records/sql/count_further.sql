SELECT f.table_name, COUNT(*) AS record_count, COUNT(DISTINCT f.row_key) AS row_count
FROM further_rows AS f
GROUP BY f.table_name

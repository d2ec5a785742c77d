SELECT COUNT(*) AS row_count
FROM record_state

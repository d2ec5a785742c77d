SELECT r.source, COUNT(*) AS row_count
FROM records AS r
GROUP BY r.source

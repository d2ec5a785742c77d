SELECT b.from_vector,
       COUNT(r.range_number) AS ranges,
       COUNT(CASE WHEN r.written = 1 THEN 1 END) AS written
FROM search_builds AS b
LEFT JOIN search_ranges AS r ON r.index_id = b.index_id
WHERE b.index_id = $1
GROUP BY b.from_vector

SELECT r.record_id
FROM records AS r
WHERE r.record_id IS NOT NULL{conditions}
ORDER BY r.record_id
LIMIT $1

SELECT COALESCE(MAX(record_offset) + 1, 0)
FROM records
WHERE topic = ?1
AND partition_id = ?2

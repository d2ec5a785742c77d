SELECT record_offset, record_key, value
FROM records
WHERE topic = ?1
AND partition_id = ?2
AND record_offset >= ?3
ORDER BY record_offset
LIMIT ?4

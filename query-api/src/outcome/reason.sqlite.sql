SELECT $4 AS ordinal, q.reason
FROM quarantine AS q
WHERE q.topic = $1
AND q.partition_id = $2
AND q.record_offset = $3

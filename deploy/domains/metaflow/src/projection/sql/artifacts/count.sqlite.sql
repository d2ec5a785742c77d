SELECT $5 AS ordinal, COUNT(*) AS artifacts
FROM artifacts AS a
WHERE a.task_id = $2
AND a.flow_id = $1
AND a.record_partition = $3
AND a.record_offset = $4

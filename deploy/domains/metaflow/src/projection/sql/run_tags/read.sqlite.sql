SELECT $3 AS ordinal, r.tags, r.record_offset
FROM runs AS r
WHERE r.run_number = $1
AND r.flow_id = $2

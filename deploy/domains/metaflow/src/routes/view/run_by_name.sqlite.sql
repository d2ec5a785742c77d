SELECT $3 AS ordinal, r.run_number, r.system_tags
FROM runs AS r
WHERE r.run_id = $1
AND r.flow_id = $2

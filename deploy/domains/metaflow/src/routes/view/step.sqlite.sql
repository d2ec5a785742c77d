SELECT $4 AS ordinal, s.flow_id, s.run_number, r.run_id, s.step_name, s.user_name, s.ts_epoch, r.tags, r.system_tags, s.record_partition, s.record_offset
FROM steps AS s
INNER JOIN runs AS r
    ON r.run_number = s.run_number
    AND r.flow_id = s.flow_id
WHERE s.run_number = $1
AND s.step_name = $2
AND s.flow_id = $3

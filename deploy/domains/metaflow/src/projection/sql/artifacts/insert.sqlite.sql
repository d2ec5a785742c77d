INSERT INTO artifacts (flow_id, run_number, step_name, task_id, name, location, ds_type, sha, type, content_type, user_name, attempt_id, ts_epoch, record_partition, record_offset, task_name)
SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, p.task_name
FROM tasks AS p
WHERE p.task_id = $4
AND p.flow_id = $1
AND p.run_number = $2
AND p.step_name = $3
AND p.record_offset < $15
ON CONFLICT DO NOTHING

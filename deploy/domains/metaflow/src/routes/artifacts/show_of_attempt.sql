SELECT a.flow_id, a.run_number, r.run_id, a.step_name, a.task_id, a.task_name, a.name, a.location, a.ds_type, a.sha,
    a.type, a.content_type, a.user_name, a.attempt_id, a.ts_epoch, r.tags, r.system_tags
FROM artifacts AS a
INNER JOIN runs AS r
    ON r.run_number = a.run_number
    AND r.flow_id || '' = a.flow_id
WHERE a.flow_id = $1
AND a.run_number + 0 = $2
AND a.step_name || '' = $3
AND a.task_id = $4
AND a.name = $5
AND a.attempt_id = $6

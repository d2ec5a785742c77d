SELECT a.flow_id, a.ts_epoch, a.user_name, r.system_tags, a.run_number, r.run_id,
    a.step_name, a.task_id, a.task_name, a.name, a.attempt_id
FROM artifacts AS a
INNER JOIN runs AS r
    ON r.run_number = a.run_number
    AND r.flow_id || '' = a.flow_id
WHERE a.task_id = $1
AND a.attempt_id = $2
AND a.name = $3
AND a.flow_id = $4

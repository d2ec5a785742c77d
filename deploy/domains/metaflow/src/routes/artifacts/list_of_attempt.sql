SELECT a.step_name, a.task_id, a.task_name, a.name, a.location, a.ds_type, a.sha, a.type, a.content_type,
    a.user_name, a.attempt_id, a.ts_epoch
FROM artifacts AS a
WHERE a.flow_id = $1
AND a.run_number + 0 = $2
AND a.step_name || '' = $3
AND a.task_id = $4
AND a.attempt_id = $5
AND (a.ts_epoch, a.task_id, a.name) < ($6, $7, $8)
ORDER BY a.ts_epoch DESC, a.task_id DESC, a.name DESC
LIMIT $9

SELECT a.step_name, a.task_id, a.task_name, a.name, a.location, a.ds_type, a.sha, a.type, a.content_type,
    a.user_name, a.attempt_id, a.ts_epoch
FROM artifacts AS a
INNER JOIN tasks AS t
    ON t.task_id = a.task_id
    AND t.flow_id = a.flow_id
    AND t.latest_attempt = a.attempt_id
WHERE a.flow_id = $1
AND a.run_number = $2
AND a.step_name = $3
AND (a.ts_epoch, a.task_id, a.name) < ($4, $5, $6)
ORDER BY a.ts_epoch DESC, a.task_id DESC, a.name DESC
LIMIT $7

-- SQLite opens a subquery again for each row, and a join once.
SELECT t.task_id, t.task_name, t.user_name, t.ts_epoch, t.heartbeat_at, h.beat_at
FROM tasks AS t
LEFT JOIN task_heartbeats AS h
    ON h.task_id = t.task_id
    AND h.flow_id = t.flow_id
WHERE t.flow_id = $1
AND t.run_number = $2
AND t.step_name = $3
AND (t.ts_epoch, t.task_id) < ($4, $5)
ORDER BY t.ts_epoch DESC, t.task_id DESC
LIMIT $6

-- Not a join: PostgreSQL may take a plan for it that compares each task with every heartbeat of the flow.
SELECT t.task_id, t.task_name, t.user_name, t.ts_epoch, t.heartbeat_at, (
        SELECT h.beat_at
        FROM task_heartbeats AS h
        WHERE h.task_id = t.task_id
        AND h.flow_id = t.flow_id
    ) AS beat_at
FROM tasks AS t
WHERE t.flow_id = $1
AND t.run_number = $2
AND t.step_name = $3
AND (t.ts_epoch, t.task_id) < ($4, $5)
ORDER BY t.ts_epoch DESC, t.task_id DESC
LIMIT $6

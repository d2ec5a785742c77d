SELECT $5 AS ordinal, t.flow_id, t.run_number, r.run_id, t.step_name, t.task_id, t.task_name, t.user_name, t.ts_epoch,
    r.tags, r.system_tags, t.heartbeat_at, h.beat_at, t.record_partition, t.record_offset
FROM tasks AS t
INNER JOIN runs AS r
    ON r.run_number = t.run_number
    AND r.flow_id = t.flow_id
LEFT JOIN task_heartbeats AS h
    ON h.task_id = t.task_id
    AND h.flow_id = t.flow_id
WHERE t.task_id = $1
AND t.flow_id = $2
AND t.run_number = $3
AND t.step_name = $4

INSERT INTO tasks (flow_id, run_number, step_name, task_id, task_name, user_name, ts_epoch, heartbeat_at, record_partition, record_offset)
SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10
WHERE EXISTS (
    SELECT 1
    FROM steps AS p
    WHERE p.run_number = $2
    AND p.step_name = $3
    AND p.flow_id = $1
    AND p.record_offset < $10
)
ON CONFLICT DO NOTHING

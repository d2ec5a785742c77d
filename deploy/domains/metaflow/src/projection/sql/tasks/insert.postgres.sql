INSERT INTO tasks (flow_id, run_number, step_name, task_id, task_name, user_name, ts_epoch, heartbeat_at, record_partition, record_offset)
SELECT e.flow_id, e.run_number, e.step_name, e.task_id, e.task_name, e.user_name, e.ts_epoch, e.heartbeat_at, e.record_partition, e.record_offset
FROM UNNEST($1::TEXT[], $2::BIGINT[], $3::TEXT[], $4::BIGINT[], $5::TEXT[], $6::TEXT[], $7::BIGINT[], $8::BIGINT[], $9::BIGINT[], $10::BIGINT[])
    AS e (flow_id, run_number, step_name, task_id, task_name, user_name, ts_epoch, heartbeat_at, record_partition, record_offset)
WHERE EXISTS (
    SELECT 1
    FROM steps AS p
    WHERE p.run_number = e.run_number
    AND p.step_name = e.step_name
    AND p.flow_id = e.flow_id
    AND p.record_offset < e.record_offset
)
ON CONFLICT DO NOTHING

SELECT e.ordinal, t.flow_id, t.run_number, r.run_id, t.step_name, t.task_id, t.task_name, t.user_name, t.ts_epoch,
    r.tags, r.system_tags, t.heartbeat_at, h.beat_at, t.record_partition, t.record_offset
FROM UNNEST($1::BIGINT[], $2::TEXT[], $3::BIGINT[], $4::TEXT[])
    WITH ORDINALITY AS e (task_id, flow_id, run_number, step_name, ordinal)
INNER JOIN tasks AS t
    ON t.task_id = e.task_id
    AND t.flow_id = e.flow_id
    AND t.run_number + 0 = e.run_number
    AND t.step_name || '' = e.step_name
INNER JOIN runs AS r
    ON r.run_number = e.run_number
    AND r.flow_id || '' = e.flow_id
LEFT JOIN task_heartbeats AS h
    ON h.task_id = t.task_id
    AND h.flow_id = t.flow_id

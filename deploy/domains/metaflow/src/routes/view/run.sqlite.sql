SELECT $3 AS ordinal, r.flow_id, r.run_number, r.run_id, r.user_name, r.ts_epoch, r.tags, r.system_tags,
    r.heartbeat_at, h.beat_at, r.outcome, r.record_partition, r.record_offset
FROM runs AS r
LEFT JOIN run_heartbeats AS h
    ON h.run_number = r.run_number
    AND h.flow_id = r.flow_id
WHERE r.run_number = $1
AND r.flow_id = $2

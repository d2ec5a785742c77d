SELECT r.flow_id, r.run_number, r.run_id, r.user_name, r.ts_epoch, r.tags, r.system_tags,
    r.heartbeat_at, h.beat_at, r.outcome
FROM runs AS r
LEFT JOIN run_heartbeats AS h
    ON h.run_number = r.run_number
    AND h.flow_id = r.flow_id
WHERE r.flow_id = $1
AND (r.ts_epoch, r.run_number) < ($2, $3)
ORDER BY r.ts_epoch DESC, r.run_number DESC
LIMIT $4

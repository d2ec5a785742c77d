-- Not a join: PostgreSQL may take a plan for it that compares each run with every heartbeat of the flow.
SELECT r.flow_id, r.run_number, r.run_id, r.user_name, r.ts_epoch, r.tags, r.system_tags,
    r.heartbeat_at, (
        SELECT h.beat_at
        FROM run_heartbeats AS h
        WHERE h.run_number = r.run_number
        AND h.flow_id = r.flow_id
    ) AS beat_at, r.outcome
FROM runs AS r
WHERE r.flow_id = $1
AND (r.ts_epoch, r.run_number) < ($2, $3)
ORDER BY r.ts_epoch DESC, r.run_number DESC
LIMIT $4

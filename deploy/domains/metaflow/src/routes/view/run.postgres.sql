SELECT e.ordinal, r.flow_id, r.run_number, r.run_id, r.user_name, r.ts_epoch, r.tags, r.system_tags,
    r.heartbeat_at, h.beat_at, r.outcome, r.record_partition, r.record_offset
FROM UNNEST($1::BIGINT[], $2::TEXT[])
    WITH ORDINALITY AS e (run_number, flow_id, ordinal)
INNER JOIN runs AS r
    ON r.run_number = e.run_number
    AND r.flow_id || '' = e.flow_id
LEFT JOIN run_heartbeats AS h
    ON h.run_number = r.run_number
    AND h.flow_id = r.flow_id

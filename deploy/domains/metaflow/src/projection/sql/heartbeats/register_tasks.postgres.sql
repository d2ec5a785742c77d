UPDATE runs AS r
SET heartbeat_at = e.beat_at
FROM UNNEST($1::BIGINT[], $2::TEXT[], $3::BIGINT[])
    AS e (run_number, flow_id, beat_at)
WHERE r.run_number = e.run_number
AND r.flow_id = e.flow_id

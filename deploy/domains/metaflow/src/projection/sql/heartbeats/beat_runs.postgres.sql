INSERT INTO run_heartbeats (run_number, flow_id, beat_at)
SELECT e.run_number, e.flow_id, e.beat_at
FROM UNNEST($1::BIGINT[], $2::TEXT[], $3::BIGINT[])
    AS e (run_number, flow_id, beat_at)
ON CONFLICT (run_number, flow_id) DO UPDATE
SET beat_at = EXCLUDED.beat_at

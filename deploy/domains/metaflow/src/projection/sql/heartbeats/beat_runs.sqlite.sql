INSERT INTO run_heartbeats (run_number, flow_id, beat_at)
VALUES ($1, $2, $3)
ON CONFLICT (run_number, flow_id) DO UPDATE
SET beat_at = EXCLUDED.beat_at

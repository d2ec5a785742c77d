INSERT INTO task_heartbeats (task_id, flow_id, beat_at)
VALUES ($1, $2, $3)
ON CONFLICT (task_id, flow_id) DO UPDATE
SET beat_at = EXCLUDED.beat_at

INSERT INTO task_heartbeats (task_id, flow_id, beat_at)
SELECT e.task_id, e.flow_id, e.beat_at
FROM UNNEST($1::BIGINT[], $2::TEXT[], $3::BIGINT[])
    AS e (task_id, flow_id, beat_at)
ON CONFLICT (task_id, flow_id) DO UPDATE
SET beat_at = EXCLUDED.beat_at

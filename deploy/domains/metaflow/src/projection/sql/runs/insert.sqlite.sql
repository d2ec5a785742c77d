INSERT INTO runs (flow_id, run_number, run_id, user_name, ts_epoch, tags, system_tags, heartbeat_at, record_partition, record_offset)
SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10
WHERE EXISTS (
    SELECT 1
    FROM flows AS p
    WHERE p.flow_id = $1
    AND p.record_offset < $10
)
ON CONFLICT DO NOTHING

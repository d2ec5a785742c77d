INSERT INTO runs (flow_id, run_number, run_id, user_name, ts_epoch, tags, system_tags, heartbeat_at, record_partition, record_offset)
SELECT e.flow_id, e.run_number, e.run_id, e.user_name, e.ts_epoch, e.tags, e.system_tags, e.heartbeat_at, e.record_partition, e.record_offset
FROM UNNEST($1::TEXT[], $2::BIGINT[], $3::TEXT[], $4::TEXT[], $5::BIGINT[], $6::TEXT[], $7::TEXT[], $8::BIGINT[], $9::BIGINT[], $10::BIGINT[])
    AS e (flow_id, run_number, run_id, user_name, ts_epoch, tags, system_tags, heartbeat_at, record_partition, record_offset)
WHERE EXISTS (
    SELECT 1
    FROM flows AS p
    WHERE p.flow_id = e.flow_id
    AND p.record_offset < e.record_offset
)
ON CONFLICT DO NOTHING

INSERT INTO steps (flow_id, run_number, step_name, user_name, ts_epoch, record_partition, record_offset)
SELECT e.flow_id, e.run_number, e.step_name, e.user_name, e.ts_epoch, e.record_partition, e.record_offset
FROM UNNEST($1::TEXT[], $2::BIGINT[], $3::TEXT[], $4::TEXT[], $5::BIGINT[], $6::BIGINT[], $7::BIGINT[])
    AS e (flow_id, run_number, step_name, user_name, ts_epoch, record_partition, record_offset)
WHERE EXISTS (
    SELECT 1
    FROM runs AS p
    WHERE p.run_number = e.run_number
    AND p.flow_id || '' = e.flow_id
    AND p.record_offset < e.record_offset
)
ON CONFLICT DO NOTHING

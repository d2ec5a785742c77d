INSERT INTO steps (flow_id, run_number, step_name, user_name, ts_epoch, record_partition, record_offset)
SELECT $1, $2, $3, $4, $5, $6, $7
WHERE EXISTS (
    SELECT 1
    FROM runs AS p
    WHERE p.run_number = $2
    AND p.flow_id = $1
    AND p.record_offset < $7
)
ON CONFLICT DO NOTHING

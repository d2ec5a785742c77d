INSERT INTO flows (flow_id, user_name, ts_epoch, tags, system_tags, record_partition, record_offset)
SELECT $1, $2, $3, $4, $5, $6, $7
WHERE TRUE
ON CONFLICT DO NOTHING

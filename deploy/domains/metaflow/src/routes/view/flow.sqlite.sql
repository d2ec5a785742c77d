SELECT $2 AS ordinal, f.flow_id, f.user_name, f.ts_epoch, f.tags, f.system_tags, f.record_partition, f.record_offset
FROM flows AS f
WHERE f.flow_id = $1

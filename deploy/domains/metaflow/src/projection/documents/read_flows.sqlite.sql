SELECT f.flow_id, f.ts_epoch, f.user_name, f.system_tags, f.tags
FROM flows AS f
WHERE f.flow_id = $1

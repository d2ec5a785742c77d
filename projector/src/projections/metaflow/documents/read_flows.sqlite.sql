SELECT f.flow_id, f.ts_epoch, f.user_name, f.tags, f.system_tags
FROM flows AS f
WHERE f.flow_id = $1

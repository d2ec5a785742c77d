SELECT flow_id, user_name, ts_epoch, tags, system_tags
FROM flows
WHERE (ts_epoch, flow_id) < ($1, $2)
ORDER BY ts_epoch DESC, flow_id DESC
LIMIT $3

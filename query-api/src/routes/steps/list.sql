SELECT s.flow_id, s.run_number, r.run_id, s.step_name, s.user_name, s.ts_epoch, r.tags, r.system_tags
FROM steps AS s
INNER JOIN runs AS r
    ON r.run_number = s.run_number
    AND r.flow_id || '' = s.flow_id
WHERE s.flow_id = $1
AND s.run_number = $2
AND (s.ts_epoch, s.step_name) < ($3, $4)
ORDER BY s.ts_epoch DESC, s.step_name DESC
LIMIT $5

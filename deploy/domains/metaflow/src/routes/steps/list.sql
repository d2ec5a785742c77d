SELECT s.step_name, s.user_name, s.ts_epoch
FROM steps AS s
WHERE s.flow_id = $1
AND s.run_number = $2
AND (s.ts_epoch, s.step_name) < ($3, $4)
ORDER BY s.ts_epoch DESC, s.step_name DESC
LIMIT $5

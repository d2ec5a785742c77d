UPDATE runs
SET heartbeat_at = $3
WHERE run_number = $1
AND flow_id = $2

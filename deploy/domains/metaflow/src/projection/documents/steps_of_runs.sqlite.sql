SELECT s.run_number, s.step_name, s.flow_id
FROM steps AS s
WHERE s.run_number = $1
AND s.flow_id = $2

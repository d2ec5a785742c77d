SELECT s.run_number, s.step_name, s.flow_id
FROM UNNEST($1::BIGINT[], $2::TEXT[]) AS e (run_number, flow_id)
INNER JOIN steps AS s
    ON s.run_number = e.run_number
    AND s.flow_id = e.flow_id

SELECT e.ordinal, r.run_number, r.system_tags
FROM UNNEST($1::TEXT[], $2::TEXT[])
    WITH ORDINALITY AS e (run_id, flow_id, ordinal)
INNER JOIN runs AS r
    ON r.run_id = e.run_id
    AND r.flow_id = e.flow_id

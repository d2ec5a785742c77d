UPDATE runs AS r
SET tags = e.tags
FROM UNNEST($1::BIGINT[], $2::TEXT[], $3::TEXT[])
    AS e (run_number, flow_id, tags)
WHERE r.run_number = e.run_number
AND r.flow_id = e.flow_id

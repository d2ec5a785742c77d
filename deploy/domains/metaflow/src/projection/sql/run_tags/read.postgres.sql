SELECT e.ordinal, r.tags, r.record_offset
FROM UNNEST($1::BIGINT[], $2::TEXT[])
    WITH ORDINALITY AS e (run_number, flow_id, ordinal)
INNER JOIN runs AS r
    ON r.run_number = e.run_number
    AND r.flow_id || '' = e.flow_id

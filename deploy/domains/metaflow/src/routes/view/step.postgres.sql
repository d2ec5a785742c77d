SELECT e.ordinal, s.flow_id, s.run_number, r.run_id, s.step_name, s.user_name, s.ts_epoch, r.tags, r.system_tags, s.record_partition, s.record_offset
FROM UNNEST($1::BIGINT[], $2::TEXT[], $3::TEXT[])
    WITH ORDINALITY AS e (run_number, step_name, flow_id, ordinal)
INNER JOIN steps AS s
    ON s.run_number = e.run_number
    AND s.step_name = e.step_name
    AND s.flow_id = e.flow_id
INNER JOIN runs AS r
    ON r.run_number = s.run_number
    AND r.flow_id || '' = s.flow_id

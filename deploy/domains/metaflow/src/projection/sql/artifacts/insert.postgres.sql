INSERT INTO artifacts (flow_id, run_number, step_name, task_id, name, location, ds_type, sha, type, content_type, user_name, attempt_id, ts_epoch, record_partition, record_offset, task_name)
SELECT e.flow_id, e.run_number, e.step_name, e.task_id, e.name, e.location, e.ds_type, e.sha, e.type, e.content_type, e.user_name, e.attempt_id, e.ts_epoch, e.record_partition, e.record_offset, p.task_name
FROM UNNEST($1::TEXT[], $2::BIGINT[], $3::TEXT[], $4::BIGINT[], $5::TEXT[], $6::TEXT[], $7::TEXT[], $8::TEXT[], $9::TEXT[], $10::TEXT[], $11::TEXT[], $12::BIGINT[], $13::BIGINT[], $14::BIGINT[], $15::BIGINT[])
    AS e (flow_id, run_number, step_name, task_id, name, location, ds_type, sha, type, content_type, user_name, attempt_id, ts_epoch, record_partition, record_offset)
INNER JOIN tasks AS p
    ON p.task_id = e.task_id
    AND p.flow_id = e.flow_id
    AND p.run_number + 0 = e.run_number
    AND p.step_name || '' = e.step_name
    AND p.record_offset < e.record_offset
ON CONFLICT DO NOTHING

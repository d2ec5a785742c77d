INSERT INTO metadata (flow_id, run_number, step_name, task_id, id, field_name, value, type, user_name, ts_epoch, tags, system_tags, record_partition, record_offset, task_name)
SELECT e.flow_id, e.run_number, e.step_name, e.task_id, e.id, e.field_name, e.value, e.type, e.user_name, e.ts_epoch, e.tags, e.system_tags, e.record_partition, e.record_offset, p.task_name
FROM UNNEST($1::TEXT[], $2::BIGINT[], $3::TEXT[], $4::BIGINT[], $5::BIGINT[], $6::TEXT[], $7::TEXT[], $8::TEXT[], $9::TEXT[], $10::BIGINT[], $11::TEXT[], $12::TEXT[], $13::BIGINT[], $14::BIGINT[])
    AS e (flow_id, run_number, step_name, task_id, id, field_name, value, type, user_name, ts_epoch, tags, system_tags, record_partition, record_offset)
INNER JOIN tasks AS p
    ON p.task_id = e.task_id
    AND p.flow_id = e.flow_id
    AND p.run_number + 0 = e.run_number
    AND p.step_name || '' = e.step_name
    AND p.record_offset < e.record_offset

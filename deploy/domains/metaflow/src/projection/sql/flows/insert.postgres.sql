INSERT INTO flows (flow_id, user_name, ts_epoch, tags, system_tags, record_partition, record_offset)
SELECT e.flow_id, e.user_name, e.ts_epoch, e.tags, e.system_tags, e.record_partition, e.record_offset
FROM UNNEST($1::TEXT[], $2::TEXT[], $3::BIGINT[], $4::TEXT[], $5::TEXT[], $6::BIGINT[], $7::BIGINT[])
    AS e (flow_id, user_name, ts_epoch, tags, system_tags, record_partition, record_offset)
ON CONFLICT DO NOTHING

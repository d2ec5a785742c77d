INSERT INTO quarantine (topic, partition_id, record_offset, reason, record_key, value_bytes, value_hex)
SELECT e.topic, e.partition_id, e.record_offset, e.reason, e.record_key, e.value_bytes, e.value_hex
FROM UNNEST($1::TEXT[], $2::BIGINT[], $3::BIGINT[], $4::TEXT[], $5::TEXT[], $6::BIGINT[], $7::TEXT[])
    AS e (topic, partition_id, record_offset, reason, record_key, value_bytes, value_hex)

UPDATE checkpoints AS c
SET next_offset = e.to_offset,
    record_offset = e.to_offset - 1,
    record_hash = e.record_hash
FROM UNNEST($1::TEXT[], $2::BIGINT[], $3::BIGINT[], $4::BIGINT[], $5::BIGINT[], $6::TEXT[])
    AS e (topic, partition_id, from_offset, to_offset, is_live, record_hash)
WHERE c.topic = e.topic
AND c.partition_id = e.partition_id
AND c.next_offset = e.from_offset
AND c.is_live = e.is_live

UPDATE checkpoints AS c
SET next_offset = e.to_offset
FROM UNNEST($1::TEXT[], $2::BIGINT[], $3::BIGINT[], $4::BIGINT[], $5::BIGINT[])
    AS e (topic, partition_id, from_offset, to_offset, is_live)
WHERE c.topic = e.topic
AND c.partition_id = e.partition_id
AND c.next_offset = e.from_offset
AND c.is_live = e.is_live

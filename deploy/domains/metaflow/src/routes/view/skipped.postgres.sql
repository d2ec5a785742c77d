SELECT e.ordinal, s.entries
FROM UNNEST($1::BIGINT[], $2::BIGINT[])
    WITH ORDINALITY AS e (record_partition, record_offset, ordinal)
INNER JOIN skips AS s
    ON s.record_partition = e.record_partition
    AND s.record_offset = e.record_offset

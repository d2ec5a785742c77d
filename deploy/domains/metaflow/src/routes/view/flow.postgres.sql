SELECT e.ordinal, f.flow_id, f.user_name, f.ts_epoch, f.tags, f.system_tags, f.record_partition, f.record_offset
FROM UNNEST($1::TEXT[])
    WITH ORDINALITY AS e (flow_id, ordinal)
INNER JOIN flows AS f
    ON f.flow_id = e.flow_id

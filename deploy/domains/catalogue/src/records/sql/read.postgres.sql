SELECT e.ordinal, r.record_id, r.revision, r.flags{values}
FROM UNNEST($1::TEXT[])
    WITH ORDINALITY AS e (record_id, ordinal)
INNER JOIN records AS r
    ON r.record_id = e.record_id

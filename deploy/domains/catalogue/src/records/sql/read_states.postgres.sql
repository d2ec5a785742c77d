SELECT e.ordinal, s.record_id, s.revision, s.raw, s.api, s.flags, s.takedown, s.removed, s.content_hash, s.changed_at
FROM UNNEST($1::TEXT[])
    WITH ORDINALITY AS e (record_id, ordinal)
INNER JOIN record_state AS s
    ON s.record_id = e.record_id

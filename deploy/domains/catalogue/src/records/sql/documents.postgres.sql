SELECT s.record_id, s.revision, s.flags, s.changed_at, r.record_id AS shown_id{values}
FROM UNNEST($1::TEXT[]) AS e (record_id)
INNER JOIN record_state AS s
    ON s.record_id = e.record_id
LEFT JOIN records AS r
    ON r.record_id = s.record_id

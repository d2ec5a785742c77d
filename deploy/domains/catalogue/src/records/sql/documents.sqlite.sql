SELECT s.record_id, s.revision, s.flags, s.changed_at, r.record_id AS shown_id{values}
FROM record_state AS s
LEFT JOIN records AS r
    ON r.record_id = s.record_id
WHERE s.record_id = $1

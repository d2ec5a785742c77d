SELECT r.record_id, r.revision, r.flags{values}
FROM records AS r
WHERE r.record_id > $1
ORDER BY r.record_id
LIMIT $2

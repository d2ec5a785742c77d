SELECT $2 AS ordinal, r.record_id, r.revision, r.flags{values}
FROM records AS r
WHERE r.record_id = $1

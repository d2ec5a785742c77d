SELECT s.record_id, s.revision, s.raw, s.api, s.flags, s.takedown, s.removed, s.content_hash, s.changed_at
FROM record_state AS s
WHERE s.record_id > $1
ORDER BY s.record_id
LIMIT $2

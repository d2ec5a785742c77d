INSERT INTO record_state (
    record_id,
    revision,
    raw,
    api,
    flags,
    takedown,
    removed,
    content_hash,
    changed_at,
    record_partition,
    record_offset
)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
ON CONFLICT (record_id) DO UPDATE
SET revision = EXCLUDED.revision,
    raw = EXCLUDED.raw,
    api = EXCLUDED.api,
    flags = EXCLUDED.flags,
    takedown = EXCLUDED.takedown,
    removed = EXCLUDED.removed,
    content_hash = EXCLUDED.content_hash,
    changed_at = EXCLUDED.changed_at,
    record_partition = EXCLUDED.record_partition,
    record_offset = EXCLUDED.record_offset

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
SELECT
    e.record_id,
    e.revision,
    e.raw,
    e.api,
    e.flags,
    e.takedown,
    e.removed,
    e.content_hash,
    e.changed_at,
    e.record_partition,
    e.record_offset
FROM UNNEST(
    $1::TEXT[],
    $2::BIGINT[],
    $3::TEXT[],
    $4::TEXT[],
    $5::TEXT[],
    $6::TEXT[],
    $7::BIGINT[],
    $8::TEXT[],
    $9::BIGINT[],
    $10::BIGINT[],
    $11::BIGINT[]
) AS e (
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

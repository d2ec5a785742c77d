INSERT INTO generations (
    domain,
    generation,
    schema,
    index_name,
    state,
    fingerprint,
    log_id,
    label,
    promotes,
    accepts_quarantine,
    until,
    goal,
    reason,
    report,
    created_at,
    changed_at
)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, '', '', '', CAST(UNIXEPOCH('subsec') * 1000 AS INTEGER), CAST(UNIXEPOCH('subsec') * 1000 AS INTEGER))
ON CONFLICT DO NOTHING

SELECT
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
    created_at,
    changed_at
FROM generations
WHERE domain = $1
ORDER BY generation

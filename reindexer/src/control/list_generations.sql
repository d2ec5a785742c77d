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
    stopped,
    created_at,
    CASE began_at WHEN 0 THEN created_at ELSE began_at END AS began_at,
    changed_at
FROM generations
WHERE domain = $1
ORDER BY generation

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
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, '', '', '', (EXTRACT(EPOCH FROM STATEMENT_TIMESTAMP()) * 1000)::BIGINT, (EXTRACT(EPOCH FROM STATEMENT_TIMESTAMP()) * 1000)::BIGINT)
ON CONFLICT DO NOTHING

INSERT INTO search_quarantine (document_id, revision, reason)
VALUES ($1, $2, $3)
ON CONFLICT (document_id) DO UPDATE
SET revision = EXCLUDED.revision,
    reason = EXCLUDED.reason

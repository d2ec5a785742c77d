INSERT INTO search_quarantine (index_id, document_id, revision, reason)
VALUES ($1, $2, $3, $4)
ON CONFLICT (index_id, document_id) DO UPDATE
SET revision = EXCLUDED.revision,
    reason = EXCLUDED.reason

INSERT INTO search_quarantine (document_id, revision, reason)
SELECT e.document_id, e.revision, e.reason
FROM UNNEST($1::TEXT[], $2::BIGINT[], $3::TEXT[]) AS e (document_id, revision, reason)
ON CONFLICT (document_id) DO UPDATE
SET revision = EXCLUDED.revision,
    reason = EXCLUDED.reason

INSERT INTO search_quarantine (index_id, document_id, revision, reason)
SELECT e.index_id, e.document_id, e.revision, e.reason
FROM UNNEST($1::TEXT[], $2::TEXT[], $3::BIGINT[], $4::TEXT[]) AS e (index_id, document_id, revision, reason)
ON CONFLICT (index_id, document_id) DO UPDATE
SET revision = EXCLUDED.revision,
    reason = EXCLUDED.reason

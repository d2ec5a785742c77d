SELECT document_id, revision, reason
FROM search_quarantine
ORDER BY document_id
LIMIT $1

SELECT document_id, revision, reason
FROM search_quarantine
WHERE index_id = $1
ORDER BY document_id
LIMIT $2

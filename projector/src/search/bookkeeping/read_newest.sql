SELECT newest
FROM search_indexes
WHERE index_id = $1

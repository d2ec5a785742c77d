INSERT INTO search_indexes (index_id, newest)
VALUES ($1, $2)
ON CONFLICT (index_id) DO UPDATE
SET newest = EXCLUDED.newest
WHERE search_indexes.newest < EXCLUDED.newest

INSERT INTO search_builds (index_id, from_vector)
VALUES ($1, $2)
ON CONFLICT (index_id) DO NOTHING

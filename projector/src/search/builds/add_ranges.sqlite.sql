INSERT INTO search_ranges (index_id, range_number, kind, after_key, until_key, written)
VALUES ($1, $2, $3, $4, $5, 0)

INSERT INTO search_ranges (index_id, range_number, kind, after_key, until_key, written)
SELECT e.index_id, e.range_number, e.kind, e.after_key, e.until_key, 0
FROM UNNEST($1::TEXT[], $2::BIGINT[], $3::TEXT[], $4::TEXT[], $5::TEXT[])
    AS e (index_id, range_number, kind, after_key, until_key)

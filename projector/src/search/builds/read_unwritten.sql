SELECT range_number, kind, after_key, until_key
FROM search_ranges
WHERE index_id = $1
AND written = 0
ORDER BY range_number

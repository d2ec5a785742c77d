UPDATE search_ranges
SET written = 1
WHERE index_id = $1
AND range_number = $2

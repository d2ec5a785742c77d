SELECT setval('metadata_ids', $1)
FROM metadata_ids
WHERE $1 > 0
AND (last_value < $1 OR NOT is_called)

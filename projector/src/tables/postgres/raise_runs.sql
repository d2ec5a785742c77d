SELECT setval('run_numbers', $1)
FROM run_numbers
WHERE $1 > 0
AND (last_value < $1 OR NOT is_called)

SELECT nextval('run_numbers')
FROM generate_series(1, $1)

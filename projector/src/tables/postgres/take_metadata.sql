SELECT nextval('metadata_ids')
FROM generate_series(1, $1)

UPDATE runs
SET tags = $3,
    tags_revision = tags_revision + $4
WHERE run_number = $1
AND flow_id = $2

UPDATE runs
SET outcome = $3,
    outcome_revision = outcome_revision + $4
WHERE run_number = $1
AND flow_id = $2

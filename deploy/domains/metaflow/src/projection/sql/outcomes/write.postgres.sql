UPDATE runs AS r
SET outcome = e.outcome,
    outcome_revision = r.outcome_revision + e.changes
FROM UNNEST($1::BIGINT[], $2::TEXT[], $3::TEXT[], $4::BIGINT[])
    AS e (run_number, flow_id, outcome, changes)
WHERE r.run_number = e.run_number
AND r.flow_id || '' = e.flow_id

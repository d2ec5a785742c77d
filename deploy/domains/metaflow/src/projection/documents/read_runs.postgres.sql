SELECT r.flow_id, r.ts_epoch, r.user_name, r.system_tags, r.run_number, r.run_id, r.tags,
    1 + r.tags_revision + r.outcome_revision AS revision, r.outcome
FROM UNNEST($1::BIGINT[], $2::TEXT[]) AS e (run_number, flow_id)
INNER JOIN runs AS r
    ON r.run_number = e.run_number
    AND r.flow_id || '' = e.flow_id

SELECT r.flow_id, r.ts_epoch, r.user_name, r.system_tags, r.run_number, r.run_id, r.tags,
    1 + r.tags_revision + r.outcome_revision AS revision, r.outcome
FROM runs AS r
WHERE r.run_number = $1
AND r.flow_id || '' = $2

-- The offset is compared as an expression: by it alone, the planner would read the whole topic for each record.
DELETE FROM records
WHERE compacted = 1
AND topic = ?1
AND partition_id = ?2
AND record_key = ?3
AND record_offset + 0 < ?4

DELETE FROM records
USING UNNEST($1::TEXT[]) AS e (record_id)
WHERE records.record_id = e.record_id

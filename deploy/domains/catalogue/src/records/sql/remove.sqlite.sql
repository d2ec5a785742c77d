DELETE FROM records
WHERE record_id = $1

DELETE FROM generation_notes
WHERE domain = $1
AND generation = $2
AND name LIKE 'worker:%'

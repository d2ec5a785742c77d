SELECT $3 AS ordinal, s.entries
FROM skips AS s
WHERE s.record_partition = $1
AND s.record_offset = $2

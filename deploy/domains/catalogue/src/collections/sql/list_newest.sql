SELECT d.collection, d.revision, d.definition, d.hash, d.note, d.defined_at, d.record_partition, d.record_offset
FROM definitions AS d
WHERE d.collection > $1
AND NOT EXISTS (
    SELECT 1
    FROM definitions AS n
    WHERE n.collection = d.collection
    AND n.revision > d.revision
)
ORDER BY d.collection
LIMIT $2

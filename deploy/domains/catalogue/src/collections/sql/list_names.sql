SELECT d.collection, MAX(d.revision) AS revision
FROM definitions AS d
GROUP BY d.collection
ORDER BY d.collection

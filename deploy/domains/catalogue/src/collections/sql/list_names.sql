SELECT DISTINCT d.collection
FROM definitions AS d
ORDER BY d.collection

SELECT placed.flow_id
FROM (
    SELECT f.flow_id,
           ROW_NUMBER() OVER (ORDER BY f.flow_id) AS place
    FROM flows AS f
) AS placed
WHERE placed.place % $1 = 0
ORDER BY placed.flow_id

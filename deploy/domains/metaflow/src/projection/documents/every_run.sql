SELECT placed.run_number, placed.flow_id
FROM (
    SELECT r.run_number,
           r.flow_id,
           ROW_NUMBER() OVER (ORDER BY r.run_number, r.flow_id) AS place
    FROM runs AS r
) AS placed
WHERE placed.place % $1 = 0
ORDER BY placed.run_number, placed.flow_id

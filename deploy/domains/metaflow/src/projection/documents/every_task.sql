SELECT placed.task_id, placed.flow_id
FROM (
    SELECT t.task_id,
           t.flow_id,
           ROW_NUMBER() OVER (ORDER BY t.task_id, t.flow_id) AS place
    FROM tasks AS t
) AS placed
WHERE placed.place % $1 = 0
ORDER BY placed.task_id, placed.flow_id

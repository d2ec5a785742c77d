SELECT t.list, t.revision, t.hash, t.term_count, t.note, t.set_at
FROM term_lists AS t
INNER JOIN (
    SELECT n.list, MAX(n.revision) AS revision
    FROM term_lists AS n
    WHERE n.list > $1
    GROUP BY n.list
    ORDER BY n.list
    LIMIT $2
) AS newest
    ON newest.list = t.list
    AND newest.revision = t.revision
ORDER BY t.list

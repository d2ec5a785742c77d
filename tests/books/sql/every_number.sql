SELECT placed.number
FROM (
    SELECT b.book_id AS number,
           ROW_NUMBER() OVER (ORDER BY b.book_id) AS place
    FROM books AS b
) AS placed
WHERE placed.place % $1 = 0
ORDER BY placed.number

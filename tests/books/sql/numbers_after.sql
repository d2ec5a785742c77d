SELECT b.book_id AS number
FROM books AS b
WHERE b.book_id > $1
ORDER BY b.book_id
LIMIT $2
OFFSET $3

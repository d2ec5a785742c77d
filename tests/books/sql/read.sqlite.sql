SELECT $2 AS ordinal, b.book_id, b.shelf, b.title, b.author, b.added_at, b.record_partition, b.record_offset
FROM books AS b
WHERE b.book_id = $1

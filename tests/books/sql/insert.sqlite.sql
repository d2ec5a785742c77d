INSERT INTO books (book_id, shelf, title, author, added_at, record_partition, record_offset)
SELECT $1, $2, $3, $4, $5, $6, $7
WHERE TRUE
ON CONFLICT DO NOTHING

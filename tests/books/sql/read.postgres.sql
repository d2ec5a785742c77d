SELECT e.ordinal, b.book_id, b.shelf, b.title, b.author, b.added_at, b.record_partition, b.record_offset
FROM UNNEST($1::BIGINT[])
    WITH ORDINALITY AS e (book_id, ordinal)
INNER JOIN books AS b
    ON b.book_id = e.book_id

INSERT INTO books (book_id, shelf, title, author, added_at, record_partition, record_offset)
SELECT e.book_id, e.shelf, e.title, e.author, e.added_at, e.record_partition, e.record_offset
FROM UNNEST($1::BIGINT[], $2::TEXT[], $3::TEXT[], $4::TEXT[], $5::BIGINT[], $6::BIGINT[], $7::BIGINT[])
    AS e (book_id, shelf, title, author, added_at, record_partition, record_offset)
ON CONFLICT DO NOTHING

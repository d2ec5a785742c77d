CREATE TABLE IF NOT EXISTS books (
    book_id BIGINT NOT NULL PRIMARY KEY,
    shelf TEXT NOT NULL,
    title TEXT NOT NULL,
    author TEXT,
    added_at BIGINT NOT NULL,
    record_partition BIGINT NOT NULL,
    record_offset BIGINT NOT NULL
);

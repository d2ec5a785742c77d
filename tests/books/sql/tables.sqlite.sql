CREATE TABLE IF NOT EXISTS books (
    book_id INTEGER NOT NULL PRIMARY KEY,
    shelf TEXT NOT NULL,
    title TEXT NOT NULL,
    author TEXT,
    added_at INTEGER NOT NULL,
    record_partition INTEGER NOT NULL,
    record_offset INTEGER NOT NULL
);

PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;

CREATE TABLE IF NOT EXISTS events (
    "offset" INTEGER PRIMARY KEY,
    key TEXT NOT NULL,
    value BLOB NOT NULL
);

-- Compacted: a newer record of a key takes the older one's place.
CREATE TABLE IF NOT EXISTS heartbeats (
    "offset" INTEGER PRIMARY KEY,
    key TEXT NOT NULL UNIQUE,
    value BLOB NOT NULL
);

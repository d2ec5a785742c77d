PRAGMA journal_mode = WAL;
PRAGMA synchronous = NORMAL;
PRAGMA cache_size = -16384;
PRAGMA temp_store = MEMORY;
PRAGMA busy_timeout = 5000;
-- About the length at which commits wait (WAITING in wal.rs): what a slow list made it longer by is given back.
PRAGMA journal_size_limit = 134217728;

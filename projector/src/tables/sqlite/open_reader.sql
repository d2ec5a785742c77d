PRAGMA query_only = ON;
PRAGMA cache_size = -4096;
PRAGMA mmap_size = 268435456;
PRAGMA temp_store = MEMORY;
PRAGMA busy_timeout = 5000;

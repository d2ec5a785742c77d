SELECT COALESCE(MAX("offset") + 1, 0) FROM events

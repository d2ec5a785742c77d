UPDATE instances
SET expires_at = CAST(UNIXEPOCH('subsec') * 1000 AS INTEGER)
WHERE instance = $1

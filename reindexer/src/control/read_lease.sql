SELECT number, expires_at
FROM instances
WHERE instance = $1

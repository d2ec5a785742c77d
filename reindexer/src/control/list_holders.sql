SELECT i.number, i.expires_at, a.epoch AS acknowledged
FROM instances AS i
INNER JOIN acknowledgements AS a ON a.instance = i.instance
WHERE a.domain = $1

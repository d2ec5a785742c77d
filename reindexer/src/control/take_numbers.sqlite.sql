INSERT INTO sequences AS s (name, last_number)
VALUES ($1, MAX($3, 0) + $2)
ON CONFLICT (name) DO UPDATE
SET last_number = MAX(s.last_number, $3) + $2
RETURNING last_number

INSERT INTO generation_notes (domain, generation, name, value)
VALUES ($1, $2, $3, $4)
ON CONFLICT (domain, generation, name) DO UPDATE SET value = excluded.value

INSERT INTO live (domain, generation)
VALUES ($1, $2)
ON CONFLICT DO NOTHING

INSERT INTO generations (domain, generation, schema, state, fingerprint, log_id)
VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT DO NOTHING

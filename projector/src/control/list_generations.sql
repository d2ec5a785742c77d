SELECT generation, schema, state, fingerprint, log_id
FROM generations
WHERE domain = $1
ORDER BY generation

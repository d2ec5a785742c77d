INSERT INTO domains (domain, epoch, live, previous, phase, candidate, deadline)
VALUES ($1, 0, $2, 0, 'idle', 0, 0)
ON CONFLICT DO NOTHING

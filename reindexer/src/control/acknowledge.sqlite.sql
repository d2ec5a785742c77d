INSERT INTO acknowledgements (instance, domain, epoch)
VALUES ($1, $2, $3)
ON CONFLICT (instance, domain) DO UPDATE
SET epoch = EXCLUDED.epoch

INSERT INTO acknowledgements (instance, domain, epoch)
SELECT e.instance, e.domain, e.epoch
FROM UNNEST($1::TEXT[], $2::TEXT[], $3::BIGINT[]) AS e (instance, domain, epoch)
ON CONFLICT (instance, domain) DO UPDATE
SET epoch = EXCLUDED.epoch

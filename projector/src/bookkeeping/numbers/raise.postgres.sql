INSERT INTO numbers (sequence, highest)
SELECT e.sequence, e.highest
FROM UNNEST($1::TEXT[], $2::BIGINT[])
    AS e (sequence, highest)
ON CONFLICT (sequence) DO UPDATE
SET highest = EXCLUDED.highest
WHERE numbers.highest < EXCLUDED.highest

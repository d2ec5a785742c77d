INSERT INTO numbers (sequence, highest)
VALUES ($1, $2)
ON CONFLICT (sequence) DO UPDATE
SET highest = EXCLUDED.highest
WHERE numbers.highest < EXCLUDED.highest

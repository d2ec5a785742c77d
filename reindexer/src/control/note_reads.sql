INSERT INTO read_latencies (instance, milliseconds)
VALUES ($1, $2)
ON CONFLICT (instance) DO UPDATE
SET milliseconds = EXCLUDED.milliseconds

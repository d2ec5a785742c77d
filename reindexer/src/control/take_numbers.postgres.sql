-- Not flushed at commit: the writers who wait for a number would wait for the disk twice. After a crash of PostgreSQL some
-- numbers may be taken again. The fold lets the first record have such a number, and the other's writer takes the next one.
WITH unflushed AS MATERIALIZED (
    SELECT SET_CONFIG('synchronous_commit', 'off', TRUE) AS setting
)
INSERT INTO sequences AS s (name, last_number)
SELECT $1::TEXT, GREATEST($3::BIGINT, 0) + $2::BIGINT
FROM unflushed
ON CONFLICT (name) DO UPDATE
SET last_number = GREATEST(s.last_number, $3::BIGINT) + $2::BIGINT
RETURNING last_number

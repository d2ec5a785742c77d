-- Looks up one key after the other, so its time does not depend on how many records have the same one.
WITH RECURSIVE page (row_key, place) AS (
    SELECT MIN(f.row_key), CAST(1 AS BIGINT)
    FROM further_rows AS f
    WHERE f.table_name = $1 AND f.row_key > $2
    UNION ALL
    SELECT
        (
            SELECT MIN(f.row_key)
            FROM further_rows AS f
            WHERE f.table_name = $1 AND f.row_key > p.row_key
        ),
        p.place + 1
    FROM page AS p
    WHERE p.row_key IS NOT NULL AND p.place < $3
)
SELECT f.row_key, f.record_id, f.content
FROM page AS p
INNER JOIN further_rows AS f
    ON f.table_name = $1
    AND f.row_key = p.row_key
    AND f.record_id = (
        SELECT MIN(lowest.record_id)
        FROM further_rows AS lowest
        WHERE lowest.table_name = $1 AND lowest.row_key = p.row_key
    )
ORDER BY f.row_key

-- A record's hash is a sum over its columns: hashed once more, values that were swapped between two rows show.
SELECT COUNT(*) AS row_count,
    COALESCE(SUM(HASHTEXTEXTENDED(HASH_RECORD_EXTENDED(ROW({hashed}), 0)::TEXT, 0)), 0)::TEXT AS digest
FROM {table} AS t
WHERE ({order}) >= ({from})
AND ({order}) < ({to})

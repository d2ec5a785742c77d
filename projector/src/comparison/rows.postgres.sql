-- A record's hash is a sum over its columns: hashed once more, values that were swapped between two rows show.
SELECT JSON_BUILD_ARRAY({key})::TEXT AS row_key,
    HASHTEXTEXTENDED(HASH_RECORD_EXTENDED(ROW({hashed}), 0)::TEXT, 0) AS row_hash
FROM {table} AS t
WHERE ({order}) >= ({from})
AND ({order}) < ({to})

SELECT JSON_BUILD_ARRAY({key})::TEXT AS row_key, HASHTEXTEXTENDED(ROW({columns})::TEXT, 0) AS row_hash
FROM {table} AS t
WHERE ({order}) >= ({from})
AND ({order}) < ({to})

SELECT COUNT(*) AS row_count, COALESCE(SUM(HASHTEXTEXTENDED(ROW({columns})::TEXT, 0)), 0)::TEXT AS digest
FROM {table} AS t
WHERE ({order}) >= ({from})
AND ({order}) < ({to})

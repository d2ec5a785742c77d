SELECT COUNT(*) AS row_count, ROW_DIGEST({columns}) AS digest
FROM {table} AS t
WHERE ({order}) >= ({from})

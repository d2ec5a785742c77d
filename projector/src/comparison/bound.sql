SELECT {order}
FROM {table} AS t
WHERE ({order}) > ({from})
ORDER BY {order}
LIMIT 1 OFFSET {skip}

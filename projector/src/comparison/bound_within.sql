SELECT {order}
FROM {table} AS t
WHERE ({order}) > ({from})
AND ({order}) < ({to})
ORDER BY {order}
LIMIT 1 OFFSET {skip}

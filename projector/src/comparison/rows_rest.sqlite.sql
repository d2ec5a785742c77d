SELECT ROW_JSON({key}) AS row_key, ROW_HASH({columns}) AS row_hash
FROM {table} AS t
WHERE ({order}) >= ({from})

SELECT ROW_JSON({shown}) AS content
FROM {table} AS t
WHERE ({key}) = ({from})
LIMIT 1

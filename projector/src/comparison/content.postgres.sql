SELECT JSON_BUILD_ARRAY({shown})::TEXT AS content
FROM {table} AS t
WHERE ({key}) = ({from})
LIMIT 1

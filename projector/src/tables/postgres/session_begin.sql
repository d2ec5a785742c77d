SELECT set_config(setting.name, setting.value, FALSE)
FROM UNNEST($1::TEXT[], $2::TEXT[]) AS setting (name, value)

SELECT
    current_setting('search_path') AS search_path,
    current_schema()::TEXT AS schema,
    pg_is_in_recovery() OR current_setting('transaction_read_only')::BOOLEAN AS read_only,
    CASE WHEN current_setting('transaction_read_only')::BOOLEAN AND NOT pg_is_in_recovery() THEN
        (SELECT source IN ('user', 'database user', 'client') FROM pg_settings
         WHERE name = 'default_transaction_read_only')
    ELSE FALSE END AS read_only_by_login,
    current_setting('server_encoding') AS encoding,
    current_setting('server_version_num')::INTEGER AS version,
    pg_backend_pid() AS process,
    (EXTRACT(EPOCH FROM pg_postmaster_start_time()) * 1000000)::BIGINT AS server

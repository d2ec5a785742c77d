SELECT NOT (pg_is_in_recovery() OR current_setting('transaction_read_only')::BOOLEAN) AS takes_writes

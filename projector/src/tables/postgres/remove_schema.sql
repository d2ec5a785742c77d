-- Fails after a second if somebody still uses the tables.
SET LOCAL lock_timeout = '1s';
DROP SCHEMA IF EXISTS {schema} CASCADE;

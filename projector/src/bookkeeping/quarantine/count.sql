SELECT COUNT(*) AS records
FROM quarantine

SELECT COUNT(*)
FROM quarantine

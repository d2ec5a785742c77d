INSERT OR REPLACE INTO heartbeats ("offset", key, value)
VALUES (?1, ?2, ?3)

INSERT INTO events ("offset", key, value)
VALUES (?1, ?2, ?3)

SELECT
    generation,
    name,
    value
FROM generation_notes
WHERE domain = $1
ORDER BY generation, name

SELECT list, revision, terms, hash, term_count, note, set_at
FROM term_lists
WHERE list = $1 AND revision = $2

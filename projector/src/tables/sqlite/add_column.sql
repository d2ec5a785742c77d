ALTER TABLE generations ADD COLUMN {column} {definition}

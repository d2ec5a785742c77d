INSERT INTO skips (record_partition, record_offset, entries)
VALUES ($1, $2, $3)

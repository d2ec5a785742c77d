INSERT INTO records (topic, partition_id, record_offset, record_key, value, compacted)
VALUES (?1, ?2, ?3, ?4, ?5, ?6)

SELECT
    $4 AS ordinal,
    (SELECT s.entries FROM skips AS s WHERE s.record_partition = $2 AND s.record_offset = $3 AND $1 = 'events'),
    (SELECT q.reason FROM quarantine AS q WHERE q.topic = $1 AND q.partition_id = $2 AND q.record_offset = $3)

UPDATE checkpoints
SET next_offset = $4
WHERE topic = $1
AND partition_id = $2
AND next_offset = $3
AND is_live = $5

SELECT next_offset
FROM checkpoints
LIMIT 1

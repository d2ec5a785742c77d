UPDATE checkpoints
SET is_live = $1
WHERE is_live <> $1

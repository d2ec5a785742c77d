UPDATE domains
SET epoch = $2,
    live = $3,
    previous = $4,
    phase = $5,
    candidate = $6,
    deadline = $7
WHERE domain = $1

SELECT sequence, highest
FROM numbers

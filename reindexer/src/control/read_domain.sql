SELECT domain, epoch, live, previous, phase, candidate, deadline
FROM domains
WHERE domain = $1

SELECT domain, epoch, live, previous, phase, candidate, deadline
FROM domains
ORDER BY domain

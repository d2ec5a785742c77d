DELETE FROM read_latencies
WHERE instance NOT IN (SELECT i.instance FROM instances AS i)

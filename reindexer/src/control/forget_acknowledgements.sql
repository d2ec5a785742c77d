DELETE FROM acknowledgements
WHERE instance NOT IN (SELECT i.instance FROM instances AS i)

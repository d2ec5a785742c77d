SELECT RAISE(ABORT, 'not on this engine')

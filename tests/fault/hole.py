"""Deletes records from an embedded log, as damage might: hole.py FILE FIRST LAST [any]

With `any`, from every topic.
"""

import sqlite3
import sys

file, first, last, *every = sys.argv[1:]
chosen = "TRUE" if every else "topic = 'metaflow'"
with sqlite3.connect(file) as log:
    log.execute(f"DELETE FROM records WHERE {chosen} AND record_offset BETWEEN ? AND ?", (first, last))

"""Deletes records from an embedded log, as damage might: hole.py FILE FIRST LAST [any], or hole.py FILE drop

With `any`, from every topic; with `drop`, all of them with their table.
"""

import sqlite3
import sys

file, first, *more = sys.argv[1:]
with sqlite3.connect(file) as log:
    if first == "drop":
        log.execute("DROP TABLE records")
    else:
        last, *every = more
        chosen = "TRUE" if every else "topic = 'metaflow'"
        log.execute(f"DELETE FROM records WHERE {chosen} AND record_offset BETWEEN ? AND ?", (first, last))

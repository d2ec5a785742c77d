"""Deletes records from the middle of an embedded log, as damage might: hole.py FILE FIRST LAST"""

import sqlite3
import sys

file, first, last = sys.argv[1:]
with sqlite3.connect(file) as log:
    log.execute("DELETE FROM records WHERE topic = 'metaflow' AND record_offset BETWEEN ? AND ?", (first, last))

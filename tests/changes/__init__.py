"""Version 2 of a program on what version 1 stored: a table of changes, each version in a process of its own.

`rows.py` says what a row is; the modules ``rows_*.py`` hold the rows by kind of change, `deploying.py` deploys one
version over the other, and `versions.py` is what runs in their processes. `test_table.py` tries every row, and compares
what came of it with the table of docs/changing-your-state.md, which ``python docs/changes.py`` writes.
"""

from __future__ import annotations

"""Write memories into a folder until told otherwise: ``memory_writer.py FOLDER WHO COUNT``; 0 is for ever."""

from __future__ import annotations

import itertools
import sys

from charm_checkpoint import open_memory

folder, who, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
memories = open_memory("memory://").long_term(scopes={"global": folder, "project": False})
for n in range(count) if count else itertools.count():
    memories.remember("fact", f"{who} {n % 20}", f"{who} said {n} " + "at length " * 500, scope="global")
    memories.remember("fact", "of both", f"{who} said {n}", scope="global", tags=[who])
    print(n, flush=True)  # noqa: T201

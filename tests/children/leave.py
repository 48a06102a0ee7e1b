"""Use the store of a URL in every way, and leave without closing it."""

from __future__ import annotations

import asyncio
import sys
import threading

from jobs import add_item, config, id_of

from charm_checkpoint import open_memory

memory = open_memory(sys.argv[1])
saver = memory.get_langgraph_checkpointer()
asyncio.run(saver.aget_tuple(config("t")))
thread = threading.Thread(target=add_item, args=(saver, "t"))
thread.start()
thread.join()
asyncio.run(saver.aput_writes(config("t", "none"), [("items", 1)], "task"))
sys.stdout.write(id_of(add_item(saver, "t")[0]))

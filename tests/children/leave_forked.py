"""Use a store in every way, fork as a host in C does, and let the child end, by way of Python, without a call to it."""

from __future__ import annotations

import asyncio
import ctypes
import os
import sys

from charm_checkpoint import open_memory

memory = open_memory(sys.argv[1])
memory.append_messages("t", [{"role": "user", "content": "hi"}])
asyncio.run(memory.aappend_messages("t", [{"role": "user", "content": "hi"}]))
child = int(ctypes.PyDLL(None).fork())
if child == 0:
    sys.exit(7)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
assert len(memory.load_messages("t")) == len(asyncio.run(memory.aload_messages("t"))) == 2
memory.close()

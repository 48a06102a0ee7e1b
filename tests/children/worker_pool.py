"""A process that has everything imported and opened nothing: it forks a worker for each line it is sent.

A line in: ``{"job": ..., "ack": path, "args": [...]}``, answered with the worker's process id; or a
process id, answered with its exit code once it is over, negative for a signal. The argument is the
module that has the jobs.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import sys
import traceback
from typing import Any

from charm_checkpoint import open_memory

JOBS = importlib.import_module(sys.argv[1]).JOBS


def work(job: str, ack: str, args: list[Any]) -> None:
    """Be the worker."""
    code = 1
    try:
        file = os.open(ack, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        JOBS[job](lambda line: os.write(file, line.encode() + b"\n"), *args)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def main() -> None:
    """Fork workers until stdin ends."""
    # Nothing is connected to: it is the drivers that take time to be imported.
    for url in ("postgresql://127.0.0.1/none", "sqlite:///none.db"):
        open_memory(url).close()
    # A worker's own collections need not go over what was imported, and so copy its pages.
    gc.collect()
    gc.freeze()
    for line in sys.stdin:
        order = json.loads(line)
        if isinstance(order, int):
            answer = os.waitstatus_to_exitcode(os.waitpid(order, 0)[1])
        else:
            answer = os.fork()
            if not answer:
                work(**order)
        sys.stdout.write(f"{answer}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()

"""Python's garbage collector, out of the way while many objects are made at once.

Reviving a long list makes tens of thousands of objects that all live on. Each few hundred of them
set off a collection, which finds nothing and takes longer than the reviving itself.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_lock = threading.Lock()
_pausing = 0
_resume = False


@contextmanager
def paused() -> Iterator[None]:
    """Keep the collector from running, in this process, until all who asked for that are done.

    It is for work of milliseconds that waits for nothing: no ``yield`` to a driver, no ``await``.
    A collector that is off already stays off.
    """
    global _pausing, _resume
    with _lock:
        if not _pausing:
            _resume = gc.isenabled()
            gc.disable()
        _pausing += 1
    try:
        yield
    finally:
        with _lock:
            _pausing -= 1
            if not _pausing and _resume:
                gc.enable()

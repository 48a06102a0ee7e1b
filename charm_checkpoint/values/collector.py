"""Python's garbage collector, out of the way while many objects are made at once.

Decoding a long list makes tens of thousands of objects that all live on. Each few hundred of them
set off a collection, and now and then a full one of the whole process, which find nothing.

It is worth a fifth of a whole turn (read, run, put) on 2,000 messages, in RAM and on SQLite alike, and a
third on 20,000; in a process with a million objects more, where full collections are rarer, a tenth at most. To
pause it leaf by leaf instead, or to make fewer objects that it tracks, gains next to nothing: what takes
long are full collections, and they come when so many objects have lived on, whatever they are made for.
"""

from __future__ import annotations

import gc
import sys
import threading
from types import TracebackType

from charm_checkpoint.runtime import forks
from charm_checkpoint.runtime.leases import Lease

# There is no lock: an interrupt, or another thread, comes in between calls only, so that a flag
# and the call behind it are one step.
_pauses: set[paused] = set()
_resume = False


class paused:  # noqa: N801 (named as `contextlib.suppress` is)
    """Keep the collector from running, in this process, until all who asked for that are done.

    It is for work of milliseconds that waits for nothing: no ``yield`` to a driver, no ``await``.
    A collector that is off already stays off; one that another thread turns off meanwhile does not.
    """

    def __init__(self) -> None:
        self._lease = Lease(sys._getframe(1))

    def __enter__(self) -> None:
        global _resume
        _pauses.add(self)
        if gc.isenabled():
            _resume = True
            gc.disable()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _pauses.discard(self)
        self._lease.end()
        _settle()

    def is_over(self) -> bool:
        """Tell whether the block is over, though its end may have been interrupted."""
        return self._lease.is_over()

    def is_mine(self) -> bool:
        """Tell whether the block is this thread's."""
        return self._lease.thread == threading.get_ident()


def _settle() -> None:
    global _resume
    for pause in list(_pauses):
        if pause.is_over():
            _pauses.discard(pause)
    if _resume and not _pauses:
        _resume = False
        gc.enable()


@forks.in_child
def _after_fork() -> None:
    # The other threads are gone, in the midst of their blocks.
    _pauses.intersection_update([pause for pause in _pauses if pause.is_mine()])
    _settle()

"""Objects of which each process, or each event loop, has one of its own: how they are made, and by whom closed."""

from __future__ import annotations

import asyncio
import os
import weakref
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from charm_checkpoint.runtime import forks
from charm_checkpoint.runtime.clock import monotonic

T = TypeVar("T")

CLOSING = 5.0
"""Seconds that a close waits for calls that are under way; what they use is closed when they end."""


def closing_deadline() -> float:
    """Return when, on the monotonic clock, a close that begins now stops waiting."""
    return monotonic() + CLOSING


# ------------------------------------------------------------------------- one for each process


class OwnerProcess:
    """The process that something was made in: a forked child must not close what it inherits."""

    __slots__ = ("_pid",)

    def __init__(self) -> None:
        self._pid = os.getpid()

    def is_current(self) -> bool:
        """Tell whether this is that process, rather than a child of it."""
        return self._pid == os.getpid()


_inherited: list[Any] = []
"""What a forked child inherited and must not use. It is kept: a destructor could close what the parent uses."""


def keep_inherited(thing: object) -> None:
    """Keep a thing of the parent's for as long as this process lives, so that no destructor closes it."""
    _inherited.append(thing)


class PerProcess(Generic[T]):
    """A thing that is made anew in every forked child, where the parent's is neither used nor closed.

    ``thing`` is this process's own, for those who know that `forks.check` was called, as a `Store` does before each
    call: it asks the system for the process id, which takes longer than all else here. `get` does so itself.
    ``close`` is called with it once nobody has this object any more, or as the program ends. Neither function may
    refer to this object, which would then live for ever.
    """

    def __init__(self, make: Callable[[], T], close: Callable[[T], object] | None = None) -> None:
        self._make = make
        self._close = close
        self._renew()
        forks.follow(self)

    def _renew(self) -> None:
        self.thing = self._make()
        self._end: weakref.finalize[..., Any] | None = None
        if self._close is not None:
            self._end = weakref.finalize(self, _close_own, OwnerProcess(), self._close, self.thing)

    def get(self) -> T:
        """Return this process's own, whoever calls."""
        forks.check()
        return self.thing

    def start_over(self) -> None:
        """Make ready for a forked child: threads are gone, locks may be held, connections are the parent's."""
        if self._end is not None:
            self._end.detach()
            keep_inherited(self.thing)
        self._renew()

    def detach(self) -> T:
        """Return this process's own, which is no longer closed along with this object."""
        if self._end is not None:
            self._end.detach()
        return self.thing


def _close_own(owner: OwnerProcess, close: Callable[[T], object], thing: T) -> None:
    if owner.is_current():
        close(thing)
    else:
        keep_inherited(thing)


# ---------------------------------------------------------------------- one for each event loop


@dataclass(frozen=True, slots=True, eq=False)  # Python 3.10 knows no generic named tuples
class _Entry(Generic[T]):
    """What a loop has, and the generator that closes it at the loop's end."""

    thing: T
    end: AsyncGenerator[None, None]


class PerLoop(Generic[T]):
    """A thing that each event loop has one of, made at its first use there. Any thread may use this; nothing is locked.

    ``close`` closes such a thing from wherever that may be, at once, and may be called again: no deadline is needed.
    It is called when the loop shuts down its generators, as `asyncio.run` does; when the loop is found closed; and by
    `close_all`.
    """

    def __init__(self, make: Callable[[asyncio.AbstractEventLoop], T], close: Callable[[T], None]) -> None:
        self._make = make
        self._close = close
        self._entries: dict[asyncio.AbstractEventLoop, _Entry[T]] = {}

    def get(self) -> T:
        """Return what the running event loop has."""
        loop = asyncio.get_running_loop()
        found = self._entries.get(loop)
        return self._add(loop) if found is None else found.thing

    def all(self) -> list[T]:
        """Return what there is, of all loops."""
        return [entry.thing for entry in list(self._entries.values())]

    def close_all(self) -> None:
        """Close what all loops have, and forget it."""
        for loop in list(self._entries):
            self._remove(loop)

    def _add(self, loop: asyncio.AbstractEventLoop) -> T:
        for ended in [other for other in list(self._entries) if other.is_closed()]:
            self._remove(ended)
        thing = self._make(loop)
        entry = _Entry(thing, _until_the_end(thing, self._close))
        _step(entry.end.__anext__())  # the loop learns of the generator as it begins
        kept = self._entries.setdefault(loop, entry)
        if kept is not entry:  # a signal's handler was faster
            _step(entry.end.aclose())
        return kept.thing

    def _remove(self, loop: asyncio.AbstractEventLoop) -> None:
        # Of several threads that find a loop closed, one gets its entry.
        entry = self._entries.pop(loop, None)
        if entry is not None:
            _step(entry.end.aclose())
            self._close(entry.thing)


async def _until_the_end(thing: T, close: Callable[[T], None]) -> AsyncGenerator[None, None]:
    """Close a thing when its event loop ends: it then closes the async generators that began in it."""
    try:
        yield
    finally:
        close(thing)


def _step(awaitable: Any) -> None:
    """Take an awaitable that waits for nothing to its end: no event loop is needed for that."""
    # A RuntimeError says that the loop is doing the same in its own thread.
    with suppress(StopIteration, RuntimeError):
        awaitable.__await__().__next__()

"""What a saver remembers of the threads it last read or wrote, so as not to send it again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from charm_checkpoint.cache import Cache
from charm_checkpoint.codec import Entry

ADDRESSES = 400_000
"""Addresses that a saver remembers of all threads together, some 40 MB of memory."""
CHECKPOINTS = 16
"""Checkpoints of a thread that it remembers at once."""

Channels = Mapping[str, tuple[Any, Entry]]
"""Channel: its version, and where its value went. Values that went inline are left out."""


class ThreadMemo:
    """What one thread is known to hold, as long as its sweep counter stays ``sweeps``."""

    __slots__ = ("_checkpoints", "_leaves", "deletes", "known", "sweeps")

    def __init__(self, deletes: int, sweeps: int) -> None:
        self.deletes = deletes
        self.sweeps = sweeps
        self.known: set[bytes] = set()
        self._checkpoints: dict[tuple[str, str], Channels] = {}
        self._leaves: dict[tuple[str, str], tuple[bytes, ...]] = {}

    def channels(self, ns: str, id: str | None) -> Channels:
        """Return where a checkpoint's values went, nothing if it is not remembered."""
        return self._checkpoints.get((ns, id or ""), {})

    def leaves(self, ns: str, channel: str) -> tuple[bytes, ...]:
        """Return the leaves of a channel's latest value."""
        return self._leaves.get((ns, channel), ())

    def keep(self, ns: str, id: str, channels: Channels) -> None:
        """Remember a checkpoint."""
        self._checkpoints.pop((ns, id), None)
        self._checkpoints[(ns, id)] = channels
        for oldest in list(self._checkpoints)[:-CHECKPOINTS]:
            self._checkpoints.pop(oldest, None)
        self._leaves.update({(ns, name): entry.leaves for name, (_, entry) in channels.items() if entry.leaves})


_NOTHING = ThreadMemo(-1, -1)


class Memo:
    """Threads by name, the least used forgotten first."""

    def __init__(self) -> None:
        self._threads: Cache[str, ThreadMemo] = Cache(2 * ADDRESSES)

    def thread(self, thread: str) -> ThreadMemo | None:
        """Return what is remembered of a thread."""
        memo = self._threads.get(thread)
        return memo if memo is not None and memo is not _NOTHING else None

    def at(self, thread: str, deletes: int, sweeps: int) -> ThreadMemo:
        """Return the memo of a thread under these counters: what was remembered under others is void."""
        memo = self._threads.get(thread)
        if memo is None or (memo.deletes, memo.sweeps) != (deletes, sweeps) or len(memo.known) > ADDRESSES:
            memo = ThreadMemo(deletes, sweeps)
        # Put again each time, with what it weighs by now: long threads make room for less.
        self._threads.put(thread, memo, 1 + len(memo.known))
        return memo

    def forget(self, thread: str) -> None:
        """Forget a thread."""
        self._threads.put(thread, _NOTHING)

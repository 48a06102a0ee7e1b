"""One computes, others wait: across threads, tasks and processes, by leases in the store.

A cache is asked for a value, and given it when it was computed; it is never told that this failed. So whoever finds
nothing takes a lease, which ends with the value, or by itself after a time; then one of those who wait takes over.

Whoever has a lease never waits for another's: two could otherwise wait for each other. A lease is had by a context
(see `contextvars`) and by those that are made from it, as a run's nodes are: they ask again while it is computing.
"""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from functools import partial
from typing import Any, Final, TypeAlias

from charm_checkpoint.contract_items import ItemChange, ItemKey
from charm_checkpoint.items.bounded import Bounded
from charm_checkpoint.items.flow import Flow, Work
from charm_checkpoint.runtime.clock import monotonic

FIRST_PAUSE: Final = 0.01
LONGEST_PAUSE: Final = 0.25
_LEASES_WAITED: Final = 4
"""For so many leases, of others that fail one after another, somebody waits before computing beside them."""

Read: TypeAlias = Callable[[Sequence[ItemKey]], Flow[dict[ItemKey, Any]]]


class _Held:
    """A lease that a context has."""

    __slots__ = ("ends", "place")

    def __init__(self, place: ItemKey, ends: float) -> None:
        self.place = place
        self.ends = ends

    def is_over(self) -> bool:
        return monotonic() >= self.ends


_held: ContextVar[tuple[_Held, ...]] = ContextVar("charm_checkpoint_cache_leases", default=())


class SingleFlight:
    """The leases of one cache, whose entries are below ``root``; its leases are below ``leases``."""

    def __init__(self, kept: Bounded, root: bytes, leases: bytes, seconds: float) -> None:
        self._kept = kept
        self._root = root
        self._leases = leases
        self._seconds = seconds
        self._mine: dict[ItemKey, _Held] = {}

    def wait(self, missing: Sequence[ItemKey], read: Read) -> Flow[dict[ItemKey, Any]]:
        """Take the leases of what is missing; return what others have computed meanwhile.

        All take them in one order, so of two that want the same the second waits before it has any.
        """
        held = tuple(each for each in _held.get() if not each.is_over())
        mine = {each.place for each in held}
        may_wait = not held
        found: dict[ItemKey, Any] = {}
        for place in sorted(set(missing) - mine):
            taken = yield from self._settle(place, read, found, may_wait)
            if taken is not None:
                held = (*held, taken)
                self._mine[place] = taken
        _held.set(held)
        return found

    def _settle(self, place: ItemKey, read: Read, found: dict[ItemKey, Any], may_wait: bool) -> Flow[_Held | None]:
        """Take a lease, or find its value; neither, if there is nothing to wait for or it takes too long."""
        lease = self._lease_of(place)
        give_up = monotonic() + _LEASES_WAITED * self._seconds
        pause = FIRST_PAUSE
        while True:
            rows = yield from self._kept.fetch([lease])
            if lease not in rows:
                ttl = max(1, int(self._seconds * 1_000_000))
                claim = ItemChange(lease.space, lease.key, secrets.token_bytes(8), ttl=ttl, expect=0)
                reply = yield from self._kept.change([claim])
                # In between, the value may have been put, and the lease it was computed under ended.
                found.update((yield from read([place])))
                if place in found:
                    if reply is not None and reply.outcome == "stored":
                        yield from self._kept.change([ItemChange(lease.space, lease.key, None)])
                    return None
                if reply is None:
                    return None
                if reply.outcome == "stored":
                    return _Held(place, monotonic() + self._seconds)
            if not may_wait or monotonic() >= give_up:
                return None
            wait = pause * random.uniform(0.5, 1.0)
            yield Work(partial(time.sleep, wait), partial(asyncio.sleep, wait))
            pause = min(LONGEST_PAUSE, pause * 1.5)
            found.update((yield from read([place])))
            if place in found:
                return None

    def _lease_of(self, place: ItemKey) -> ItemKey:
        return ItemKey(self._leases + place.space[len(self._root) :], place.key)

    def ended(self, places: Sequence[ItemKey]) -> list[ItemChange]:
        """Return the changes that end the leases of what was computed."""
        for place in places:
            if (held := self._mine.pop(place, None)) is not None:
                held.ends = 0.0
        return [ItemChange(*self._lease_of(place), None) for place in places]

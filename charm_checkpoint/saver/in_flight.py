"""Calls that write, under way in an event loop, for reads to wait for.

LangGraph saves in tasks of its own, and leaves one alive when its run is cancelled. A new run on the same thread
that read meanwhile would start from a checkpoint that is about to have a successor, and take the dead run's last
put for another writer's.

What is under way is known by a future that only the call itself holds: one that was interrupted, at whatever moment,
takes it along.
"""

from __future__ import annotations

import asyncio
import weakref
from typing import TypeAlias

STEPS = 4
"""Steps of the event loop in which a task that waited for one call begins the next: a call is over that much later."""

LOOK = 0.05
"""Seconds after which who waits looks whether there still is a call to wait for."""

PUT_LOOKS, WRITES_LOOKS = 20, 1
"""How often, at most: a call that takes longer, or has ended in a way that nobody could tell, is not waited for.

Pending writes are waited for since a put may be waiting for them; they are no reason to keep a read for long.
"""

NamespaceKey = tuple[str, str]
"""A thread and a namespace."""

CallToken: TypeAlias = "asyncio.Future[None]"
"""What a call holds while it is under way."""


class InFlight:
    """What the tasks of an object are writing, by key; ``looks`` is how often who waits looks at it."""

    def __init__(self, looks: int) -> None:
        self._looks = looks
        self._calls: dict[NamespaceKey, list[weakref.ref[CallToken]]] = {}

    def begin(self, key: NamespaceKey) -> CallToken:
        """Return what to hold as long as a call of a key is under way."""
        token: CallToken = asyncio.get_running_loop().create_future()
        self._calls.setdefault(key, []).append(weakref.ref(token))
        return token

    def end(self, key: NamespaceKey, token: CallToken) -> None:
        """Say that a call has done its work; it is over when what waited for it has had its turn."""
        if token.get_loop() is asyncio._get_running_loop():  # else the call was thrown away, and its token with it
            self._step(key, token, STEPS)

    def _step(self, key: NamespaceKey, token: CallToken, left: int) -> None:
        if left:
            token.get_loop().call_soon(self._step, key, token, left - 1)
            return
        if not token.done():
            token.set_result(None)
        others = [ref for ref in self._calls.pop(key, ()) if (held := ref()) is not None and not held.done()]
        if others:
            self._calls[key] = others

    async def settled(self, key: NamespaceKey) -> None:
        """Wait until the calls of a key are over that tasks of this event loop have begun."""
        looks = 0
        while looks < self._looks and (calls := self._here(key)):
            done, _ = await asyncio.wait(calls, timeout=LOOK)
            looks += not done
            del calls
        if looks == self._looks:
            self._calls.pop(key, None)

    def _here(self, key: NamespaceKey) -> list[CallToken]:
        refs = self._calls.get(key)
        if not refs:
            return []
        here = asyncio.get_running_loop()
        return [token for ref in refs if (token := ref()) is not None and not token.done() and token.get_loop() is here]

"""What the requests of one page share: the store, what may be changed, and states that were read last."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from charm_checkpoint.config.masking import mask
from charm_checkpoint.ui.replies import Outdated, Refused

if TYPE_CHECKING:
    from charm_checkpoint.inspection import StateView
    from charm_checkpoint.memory import Memory

log = logging.getLogger("charm_checkpoint")

T = TypeVar("T")
Key = tuple[str, str, str]

KEPT = 3
"""States that stay at hand while somebody opens one part of them after another."""
SAID = 4_000
"""Characters of what a run failed with."""
ROOM = 50_000_000
"""Bytes that the channels of such a state are stored as, at most."""


@dataclass
class Page:
    """One page over one store. ``graph`` is the program's, compiled, if it was named: then runs go on from here."""

    memory: Memory
    writes: bool = False
    graph: Any = None
    complain: Callable[[str], object] = log.error
    _views: OrderedDict[Key, StateView] = field(default_factory=OrderedDict)
    _tasks: dict[str, asyncio.Task[Any]] = field(default_factory=dict)
    _answered: set[str] = field(default_factory=set)
    failures: dict[str, str] = field(default_factory=dict)

    def need_writes(self) -> None:
        """Raise `Refused` on a page that only shows."""
        if not self.writes:
            raise Refused("This page only shows. Start it with --write to change what is stored.")

    async def view(self, thread: str, checkpoint: str | None, ns: str) -> StateView:
        """Return the whole state at a checkpoint; of one that is named, perhaps the one that was read a moment ago.

        What a checkpoint holds never changes, but its pending writes do.
        """
        if checkpoint is not None and (known := self._views.get((thread, ns, checkpoint))) is not None:
            self._views.move_to_end((thread, ns, checkpoint))
            return known
        view = await self.memory.astate(thread, checkpoint, ns=ns)
        if view.checkpoint is not None and sum(channel.size for channel in view.channels.values()) <= ROOM:
            self._views[thread, ns, view.checkpoint.checkpoint_id] = view
            while len(self._views) > KEPT:
                self._views.popitem(last=False)
        return view

    def forget(self, thread: str) -> None:
        """Let go of what was read of a thread."""
        for key in [key for key in self._views if key[0] == thread]:
            del self._views[key]

    async def apart(self, work: Callable[[], T]) -> T:
        """Do what takes long where no other request waits for it: a large value is decoded."""
        return await asyncio.to_thread(work)

    @contextmanager
    def answering(self, thread: str) -> Iterator[None]:
        """Take one answer of a thread at a time, and none while a run goes on; raises `Outdated`.

        What was read of the thread inside is still so when a run begins there: no other one began.
        """
        if thread in self._tasks or thread in self._answered:
            raise Outdated("An answer to this thread was given just now. Nothing was stored; see how it goes on.")
        self._answered.add(thread)
        try:
            yield
        finally:
            self._answered.discard(thread)

    def begin(self, thread: str, run: Any) -> None:
        """Have a run go on beside the requests; what it fails with is told with its thread."""
        self.failures.pop(thread, None)
        self._tasks[thread] = task = asyncio.ensure_future(run)
        task.add_done_callback(lambda done: self._ended(thread, done))

    def _ended(self, thread: str, task: asyncio.Task[Any]) -> None:
        del self._tasks[thread]
        if not task.cancelled() and (error := task.exception()) is not None:
            self.failures[thread] = mask(f"{type(error).__name__}: {error}"[:SAID])

    async def close(self) -> None:
        """Stop runs, and close the store."""
        for task in (running := list(self._tasks.values())):
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await self.memory.aclose()

"""What keeps memories tidy in the background: a thread, or a task of an event loop's, begun by calls."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from contextvars import Context
from types import MappingProxyType
from typing import Final, TypeVar

from charm_checkpoint.errors import CharmError, StoreClosed
from charm_checkpoint.items import clock
from charm_checkpoint.items.flow import Flow
from charm_checkpoint.long_term import steps
from charm_checkpoint.long_term.aging import Aging
from charm_checkpoint.long_term.hygiene import HygieneStatus, Kept, keep, state_of, status_of
from charm_checkpoint.long_term.hygiene_settings import Hygiene
from charm_checkpoint.long_term.revalidation import place_of
from charm_checkpoint.runtime import forks
from charm_checkpoint.runtime.clock import monotonic
from charm_checkpoint.runtime.turns import RETRY, due_at

log = logging.getLogger("charm_checkpoint")

T = TypeVar("T")

_WAIT: Final = 1.0
"""Seconds that closing waits for a step under way, so that the lease is given back."""
_SECOND: Final = 1_000_000


class Keeper:
    """Keeps memories tidy in the background, once in a while, begun by calls: a program that makes none needs none."""

    def __init__(self, memories: Tidying, hygiene: Hygiene) -> None:
        self._memories = memories
        self._hygiene = hygiene
        self._set_at = 0
        self._next = 0
        self._next_monotonic = 0.0
        self._thread: threading.Thread | None = None
        self._task: asyncio.Task[None] | None = None
        self._stop = threading.Event()
        self._pid = os.getpid()

    def _rest(self, microseconds: int) -> None:
        """Do nothing for a while, by whichever clock it is over first; one that is set back ends it."""
        self._set_at = clock.now()
        self._next = self._set_at + microseconds
        self._next_monotonic = monotonic() + microseconds / _SECOND

    def _is_time(self) -> bool:
        if self._stop.is_set():
            return False
        return monotonic() >= self._next_monotonic or not self._set_at <= clock.now() < self._next

    def _is_busy(self) -> bool:
        if self._thread is not None and self._thread.is_alive():
            return True
        task = self._task
        return task is not None and not task.done() and not task.get_loop().is_closed()

    def _begins(self) -> bool:
        """Tell whether to begin now, which one caller does."""
        if not self._is_time():
            return False
        with forks.lock(__name__):
            if self._pid != os.getpid():  # what the parent began is not this child's
                self._pid, self._thread, self._task = os.getpid(), None, None
            if not self._is_time() or self._is_busy():
                return False
            self._rest(self._hygiene.terms.lifetime)
            return True

    # ----------------------------------------------------------------------------------------------------- blocking

    def call(self) -> None:
        """Note a blocking call; begin in a thread, if it is time."""
        if self._begins():
            # Daemonic, as the program's end need not wait for it: who comes next goes on.
            self._thread = threading.Thread(target=self._run, name="charm-memory-hygiene", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        rests = []
        for flow in self._memories._flows_of_hygiene(self._hygiene, at_once=False, stopping=self._stop.is_set):
            try:
                rests.append(self._after(steps.run(flow)))
            except StoreClosed:
                return
            except CharmError as error:
                rests.append(_failed(error))
        self._rest(min(rests, default=self._hygiene.terms.interval))

    def close(self) -> None:
        """Stop for good; wait a moment for a step under way."""
        self._stop.set()
        thread, task = self._thread, self._task
        if thread is not None and thread.is_alive() and thread is not threading.current_thread():
            thread.join(_WAIT)
        if task is not None and not task.done():
            with suppress(RuntimeError):  # its loop has ended
                task.get_loop().call_soon_threadsafe(task.cancel)

    # -------------------------------------------------------------------------------------------------------- async

    def acall(self) -> None:
        """Note an async call; begin in a task of the running loop, if it is time."""
        if self._begins():
            # In a context of its own: what a request has set there is not this task's, and would be kept by it.
            self._task = Context().run(self._create_task)

    def _create_task(self) -> asyncio.Task[None]:
        return asyncio.get_running_loop().create_task(self._arun(), name="charm-memory-hygiene")

    async def _arun(self) -> None:
        rests = []
        for flow in self._memories._flows_of_hygiene(self._hygiene, at_once=False, stopping=self._stop.is_set):
            try:
                rests.append(self._after(await steps.arun(flow)))
            except StoreClosed:
                return
            except CharmError as error:
                rests.append(_failed(error))
        self._rest(min(rests, default=self._hygiene.terms.interval))

    async def aclose(self) -> None:
        """Stop for good; wait a moment for a step under way."""
        self._stop.set()
        task = self._task
        if task is not None and not task.done() and task.get_loop() is asyncio.get_running_loop():
            done, _ = await asyncio.wait([task], timeout=_WAIT)
            if not done:
                task.cancel()
                await asyncio.wait([task], timeout=_WAIT)
        if self._is_busy():
            await asyncio.to_thread(self.close)

    def _after(self, kept: Kept) -> int:
        """Return how long to do nothing after that, in microseconds."""
        due = due_at(kept.state, self._hygiene.terms)
        wait = self._hygiene.terms.lifetime if due is None else due - clock.now()
        return min(max(wait, _SECOND), self._hygiene.terms.interval)


def _failed(error: CharmError) -> int:
    log.warning("Memories were not kept tidy now; it is tried again later: %s", error)
    return RETRY


class Tidying(Aging):
    """Keeps memories tidy by itself, and on demand."""

    _keeper: Keeper | None = None
    _also: Mapping[str, Callable[[], Flow[object]]] = MappingProxyType({})

    def run_hygiene(self, scope: str | None = None) -> tuple[HygieneStatus, ...]:
        """Keep memories tidy now, whatever the interval is; return how it stands with each scope.

        Where another program is at it nothing is done, and its status says that it is running. Without ``hygiene=`` in
        the settings it is done in the usual way.
        """
        hygiene = self.settings.tidy or Hygiene()
        for flow in self._flows_of_hygiene(hygiene, at_once=True, scope=scope):
            super()._run(flow)  # which begins nothing in the background
        return steps.run(self._hygiene_status(scope))

    async def arun_hygiene(self, scope: str | None = None) -> tuple[HygieneStatus, ...]:
        """Keep memories tidy now; see `run_hygiene`."""
        hygiene = self.settings.tidy or Hygiene()
        for flow in self._flows_of_hygiene(hygiene, at_once=True, scope=scope):
            await super()._arun(flow)
        return await steps.arun(self._hygiene_status(scope))

    def hygiene_status(self, scope: str | None = None) -> tuple[HygieneStatus, ...]:
        """Return when memories were kept tidy last and what that did, for each scope."""
        return steps.run(self._hygiene_status(scope))

    async def ahygiene_status(self, scope: str | None = None) -> tuple[HygieneStatus, ...]:
        """Return when memories were kept tidy last; see `hygiene_status`."""
        return await steps.arun(self._hygiene_status(scope))

    def _hygiene_status(self, scope: str | None) -> Flow[tuple[HygieneStatus, ...]]:
        found = []
        for where in self._scopes(scope):
            state = yield from state_of(where)
            found.append(status_of(where.name, state, self.settings.tidy or Hygiene()))
        return tuple(found)

    def _flows_of_hygiene(
        self, hygiene: Hygiene, *, at_once: bool, scope: str | None = None, stopping: Callable[[], bool] = bool
    ) -> Sequence[Flow[Kept]]:
        """Return a flow for each scope that keeps it tidy."""
        ages = self._ages()
        scopes = self._scopes(scope)
        return [
            keep(
                where,
                place_of(where, self),
                hygiene,
                ages,
                at_once=at_once,
                stopping=stopping,
                extra={} if number else self._also,
            )
            for number, where in enumerate(scopes)
        ]

    def on_hygiene(self, name: str, make: Callable[[], Flow[object]]) -> None:
        """Have a flow be run each time memories are kept tidy, after the rest, by the program that does it."""
        self._also = {**self._also, name: make}

    def _run(self, flow: Flow[T]) -> T:
        made = super()._run(flow)
        if self._keeper is not None:
            self._keeper.call()
        return made

    async def _arun(self, flow: Flow[T]) -> T:
        made = await super()._arun(flow)
        if self._keeper is not None:
            self._keeper.acall()
        return made

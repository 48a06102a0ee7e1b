"""Work that no turn waits for: done one at a time, beside the thread or the event loop that it comes from."""

from __future__ import annotations

import asyncio
import contextvars
import os
import threading
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Generic, TypeVar

from charm_checkpoint.runtime.clock import monotonic

J = TypeVar("J")

_LOOK = 0.05


class Background(Generic[J]):
    """Does jobs one after another: in a thread, or as a task of an event loop, whichever the first of them came from.

    ``work`` and ``awork`` are one function, blocking and async; neither is to raise. No more than ``size`` jobs wait.
    Jobs are done in an empty context: what follows a turn's calls of models, such as a stream of their words, sees
    nothing of them. A forked child has none of its parent's.
    """

    def __init__(
        self, name: str, work: Callable[[J], None], awork: Callable[[J], Awaitable[None]], *, size: int
    ) -> None:
        self._name = name
        self._work = work
        self._awork = awork
        self._size = size
        self._renew()

    def _renew(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._waiting: deque[J] = deque()
        self._worker: threading.Thread | asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._idle = threading.Event()
        self._idle.set()

    def put(self, job: J) -> bool:
        """Have a job done beside this thread; False if too many wait already."""
        return self._put(job, self._start_thread)

    def aput(self, job: J) -> bool:
        """Have a job done as a task of this event loop; False if too many wait already."""
        return self._put(job, self._start_task)

    def _put(self, job: J, start: Callable[[], None]) -> bool:
        if self._pid != os.getpid():
            self._renew()
        with self._lock:
            if len(self._waiting) >= self._size:
                return False
            self._waiting.append(job)
            self._revive(start)
        return True

    def _revive(self, start: Callable[[], None]) -> None:
        """Have somebody do what waits, if nobody does; a task whose event loop was closed does nothing any more."""
        if self._worker is not None and (self._loop is None or not self._loop.is_closed()):
            return
        self._worker = self._loop = None
        if self._waiting:
            self._idle.clear()
            start()
        else:
            self._idle.set()

    def _start_thread(self) -> None:
        run = partial(contextvars.Context().run, self._drain)
        self._worker = threading.Thread(target=run, name=self._name, daemon=True)
        self._worker.start()

    def _start_task(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._worker = contextvars.Context().run(self._loop.create_task, self._adrain())

    def _next(self) -> J | None:
        with self._lock:
            if self._waiting:
                return self._waiting.popleft()
            self._worker = self._loop = None
            self._idle.set()
            return None

    def _drain(self) -> None:
        try:
            while (job := self._next()) is not None:
                self._work(job)
        except BaseException:
            self._leave([])
            raise

    async def _adrain(self) -> None:
        job: J | None = None
        try:
            while (job := self._next()) is not None:
                await self._awork(job)
        except asyncio.CancelledError:  # as `asyncio.run` does at its end: whoever comes next does it
            self._leave([] if job is None else [job])
            raise
        except BaseException:
            self._leave([])
            raise

    def _leave(self, undone: list[J]) -> None:
        """Let somebody else do what is left."""
        with self._lock:
            self._waiting.extendleft(undone)
            self._worker = self._loop = None

    def forget(self) -> list[J]:
        """Return the jobs that wait, and have them done no more."""
        with self._lock:
            left = list(self._waiting)
            self._waiting.clear()
            return left

    def join(self, seconds: float) -> bool:
        """Wait until all is done, but not for longer; tell whether it is.

        Where a task of this very thread's event loop does it, it cannot go on while this waits: then the answer is
        there at once.
        """
        self._take_over(self._start_thread)
        if self._is_of_this_loop() or self._is_stopped():
            return self._idle.is_set()
        return self._idle.wait(max(0.0, seconds))

    async def ajoin(self, seconds: float) -> bool:
        """Wait until all is done, without blocking the event loop; see `join`."""
        self._take_over(self._start_task)
        until = monotonic() + seconds
        while not self._idle.is_set() and (left := until - monotonic()) > 0:
            worker = self._worker
            if isinstance(worker, asyncio.Task) and self._is_of_this_loop():
                await asyncio.wait({worker}, timeout=left)
            else:
                await asyncio.sleep(min(_LOOK, left))
        return self._idle.is_set()

    def _take_over(self, start: Callable[[], None]) -> None:
        if self._pid != os.getpid():
            self._renew()
        with self._lock:
            self._revive(start)

    def _is_of_this_loop(self) -> bool:
        try:
            return self._loop is not None and self._loop is asyncio.get_running_loop()
        except RuntimeError:
            return False

    def _is_stopped(self) -> bool:
        loop = self._loop
        return loop is not None and not loop.is_running()

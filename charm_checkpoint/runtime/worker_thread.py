"""A thread of its own for blocking work, awaited from any event loop.

It does what an executor of one thread does, for a third of the price: each call is one item
on a queue and one wake-up of the loop. There is no lock: what is interrupted, at whatever moment,
leaves nothing that the next call has to wait for.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, TypeAlias, TypeVar

from charm_checkpoint.errors import StoreClosed
from charm_checkpoint.runtime.clock import monotonic
from charm_checkpoint.runtime.lifecycle import PerProcess, closing_deadline

T = TypeVar("T")

PAUSE = 0.0005
"""Seconds between looks at whether a thread that was started has begun."""

_Item: TypeAlias = "tuple[Callable[[], Any], asyncio.Future[Any]] | None"


class WorkerThread:
    """Runs functions one after another, in the order they were asked for."""

    def __init__(self, name: str) -> None:
        self._stopped = False
        self._has_left_over = False
        # A daemon, or a program that never closes its store would not end; its end is awaited all the same.
        self._worker = PerProcess(partial(_Worker, name), _Worker.end)

    async def run(self, work: Callable[[], T]) -> T:
        """Await ``work()``. If the awaiting task is cancelled, work that has begun is done to its end.

        Raises `StoreClosed` after `stop`.
        """
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        if self._stopped:
            raise StoreClosed()
        self._worker.thing.put(work, future)
        try:
            return await future
        except asyncio.CancelledError:
            self._has_left_over = True
            raise

    async def catch_up(self) -> None:
        """Await the end of work whose task was cancelled when it had begun."""
        if self._has_left_over:
            self._has_left_over = False
            await self.run(lambda: None)

    def stop(self, until: float | None = None) -> None:
        """Wait until all that was asked for is done, but not for ever, and end the thread."""
        self._stopped = True
        self._worker.thing.end(until)

    def leave(self) -> None:
        """Have the thread end when all that was asked for is done; nobody waits for it."""
        self._stopped = True
        self._worker.detach().leave()


class ReadWriteThreads:
    """A store's own two threads: one for writes, one for reads, so that no read stands behind a write that waits."""

    def __init__(self, name: str) -> None:
        self._threads = {True: WorkerThread(f"{name}-write"), False: WorkerThread(f"{name}-read")}

    async def run(self, work: Callable[[], T], *, write: bool) -> T:
        """Await ``work()`` in the thread for its kind; a read comes after writes that were cancelled under way."""
        if not write:
            await self._threads[True].catch_up()
        return await self._threads[write].run(work)

    def stop(self, until: float) -> None:
        """Wait until all that was asked for is done, but not for ever, and end the threads."""
        for thread in self._threads.values():
            thread.stop(until)


async def aside(work: Callable[[], T]) -> T:
    """Await ``work()``, done in a thread of its own."""
    worker = WorkerThread("charm-aside")
    try:
        return await worker.run(work)
    finally:
        worker.leave()


class _Worker:
    """A thread, started when it is needed, and its queue."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._items: SimpleQueue[_Item] = SimpleQueue()
        self._unclaimed = [True]
        self._started = False
        self._thread: threading.Thread | None = None
        self._done = False

    def put(self, work: Callable[[], Any], future: asyncio.Future[Any]) -> None:
        if not self._started:
            self._start()
        self._items.put((work, future))
        if self._done:  # it was ended meanwhile, by a signal handler or another thread
            self._refuse()

    def _start(self) -> None:
        # Several threads may be started, by callers at once or by the one after an interrupted
        # one: the first to come has the work, the others end.
        threading.Thread(target=self._work, name=self._name, daemon=True).start()
        self._started = True

    def _work(self) -> None:
        try:
            self._unclaimed.pop()
        except IndexError:
            return
        self._thread = threading.current_thread()
        while (item := self._items.get()) is not None:
            _do(*item)
            del item  # or what it refers to would live until the next one comes
        self._done = True
        self._refuse()

    def _refuse(self) -> None:
        with suppress(Empty):
            while True:
                if (item := self._items.get_nowait()) is not None:
                    _tell(item[1], None, StoreClosed())

    def leave(self) -> None:
        """Have the thread end when it has done what it was asked for."""
        self._items.put(None)

    def end(self, until: float | None = None) -> None:
        """Have the thread end, and wait for that, but not for ever."""
        self.leave()
        until = closing_deadline() if until is None else until
        while self._thread is None and (self._started or not self._unclaimed) and monotonic() < until:
            time.sleep(PAUSE)
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(max(0.0, until - monotonic()))


def _do(work: Callable[[], Any], future: asyncio.Future[Any]) -> None:
    if future.cancelled():
        return
    try:
        result, error = work(), None
    except BaseException as caught:
        result, error = None, caught
    _tell(future, result, error)


def _tell(future: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    try:
        future.get_loop().call_soon_threadsafe(_settle, future, result, error)
    except RuntimeError:
        # The loop was closed while the work went on: nobody is left to be told.
        if not future.get_loop().is_closed():
            raise


def _settle(future: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    if future.cancelled():
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)

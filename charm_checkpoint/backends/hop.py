"""A thread of its own for blocking work, awaited from any event loop.

It does what an executor of one thread does, for a third of the price: each call is one item
on a queue and one wake-up of the loop.
"""

from __future__ import annotations

import asyncio
import os
import threading
import weakref
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, TypeAlias, TypeVar

from charm_checkpoint.errors import StoreClosed

T = TypeVar("T")

_Item: TypeAlias = "tuple[Callable[[], Any], asyncio.Future[Any]] | None"


_all: weakref.WeakSet[Hop] = weakref.WeakSet()


class Hop:
    """Runs functions one after another, in the order they were asked for."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._stopped = False
        self._renew()
        _all.add(self)

    def _renew(self) -> None:
        self._items: SimpleQueue[_Item] = SimpleQueue()
        self._asking = threading.Lock()
        self._end: weakref.finalize[[SimpleQueue[_Item], threading.Thread], Hop] | None = None

    def start_over(self) -> None:
        """Make ready for a forked child, in which the thread is gone."""
        if self._end is not None:
            self._end.detach()
        self._renew()

    async def run(self, work: Callable[[], T]) -> T:
        """Await ``work()``. If the awaiting task is cancelled, work that has begun is done to its end.

        Raises `StoreClosed` after `stop`.
        """
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        with self._asking:
            if self._stopped:
                raise StoreClosed()
            if self._end is None:
                self._start()
            self._items.put((work, future))
        return await future

    def stop(self) -> None:
        """Wait until all that was asked for is done, and end the thread."""
        with self._asking:
            self._stopped = True
        if self._end is not None:
            self._end()

    def _start(self) -> None:
        # A daemon, or a program that never closes its store would not end; its end is awaited
        # all the same, by the finalizer.
        thread = threading.Thread(target=_work, args=(self._items,), name=self._name, daemon=True)
        thread.start()
        self._end = weakref.finalize(self, _end, self._items, thread)


def _after_fork() -> None:
    for hop in list(_all):
        hop.start_over()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _end(items: SimpleQueue[_Item], thread: threading.Thread) -> None:
    items.put(None)
    if thread is not threading.current_thread():
        thread.join()


def _work(items: SimpleQueue[_Item]) -> None:
    while (item := items.get()) is not None:
        _do(*item)
        del item  # or what it refers to would live until the next one comes


def _do(work: Callable[[], Any], future: asyncio.Future[Any]) -> None:
    if future.cancelled():
        return
    try:
        result, error = work(), None
    except BaseException as caught:
        result, error = None, caught
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

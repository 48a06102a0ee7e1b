"""What sweeps now and then: a thread, or a task of an event loop's."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

from charm_checkpoint.errors import StoreClosed, StoreError
from charm_checkpoint.items.store.lifetimes import interval

log = logging.getLogger("charm_checkpoint")


class Sweeper:
    """Sweeps now and then, in a thread of its own or in a task of an event loop's."""

    def __init__(self, minutes: float) -> None:
        self._minutes = minutes
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self._task: asyncio.Task[None] | None = None
        self._task_stop = threading.Event()
        self._closed = False

    def close(self) -> None:
        """Stop for good, without waiting for it: the store is closed."""
        self._closed = True
        self._stop.set()
        self._task_stop.set()
        task = self._task
        if task is not None and not task.done():
            with suppress(RuntimeError):  # its loop has ended
                task.get_loop().call_soon_threadsafe(task.cancel)

    def _check_open(self) -> None:
        if self._closed:
            raise StoreClosed()

    # ------------------------------------------------------------ a thread

    def start(self, sweep: Callable[[], int], minutes: float | None) -> Future[None]:
        """Start a thread, if none runs; cancelling what is returned stops it."""
        self._check_open()
        future: Future[None] = Future()
        if self._thread is None or not self._thread.is_alive():
            self._stop = threading.Event()
            seconds = 60 * (self._minutes if minutes is None else interval(minutes))
            # Daemonic, as the program's end need not wait for it.
            self._thread = threading.Thread(
                target=self._run, args=(sweep, seconds, self._stop, future), name="charm-ttl-sweeper", daemon=True
            )
            self._thread.start()
        stop = self._stop
        future.add_done_callback(lambda done: stop.set() if done.cancelled() else None)
        return future

    def _run(self, sweep: Callable[[], int], seconds: float, stop: threading.Event, future: Future[None]) -> None:
        going = True
        while going and not stop.wait(seconds):
            going = _swept(sweep)
        if future.set_running_or_notify_cancel():
            future.set_result(None)

    def stop(self, timeout: float | None) -> bool:
        """Stop the thread; tell whether it has stopped, or there was none."""
        thread = self._thread
        if thread is None or not thread.is_alive():
            return True
        self._stop.set()
        thread.join(timeout)
        return not thread.is_alive()

    # ------------------------------------------------------------ a task

    def start_task(self, sweep: Callable[[], Coroutine[Any, Any, int]], minutes: float | None) -> asyncio.Task[None]:
        """Start a task in the running loop, if none runs in it; cancelling it stops it."""
        self._check_open()
        task, loop = self._task, asyncio.get_running_loop()
        if task is None or task.done() or task.get_loop() is not loop:
            seconds = 60 * (self._minutes if minutes is None else interval(minutes))
            self._task_stop = threading.Event()
            task = self._task = loop.create_task(
                _sweep_in_turn(sweep, seconds, self._task_stop), name="charm-ttl-sweeper"
            )
        return task

    async def stop_task(self, timeout: float | None) -> bool:
        """Stop the running loop's task; tell whether it has stopped, or there was none."""
        task = self._task
        if task is None or task.done() or task.get_loop() is not asyncio.get_running_loop():
            return True
        self._task_stop.set()  # for a client may take a cancellation for its own, if an answer comes just then
        task.cancel()
        done, _ = await asyncio.wait([task], timeout=timeout)
        return bool(done)


async def _sweep_in_turn(sweep: Callable[[], Coroutine[Any, Any, int]], seconds: float, stop: threading.Event) -> None:
    while not stop.is_set():
        await asyncio.sleep(seconds)
        try:
            _tell(await sweep())
        except StoreClosed:
            return
        except StoreError as error:
            _warn(error)


def _swept(sweep: Callable[[], int]) -> bool:
    """Sweep once; tell whether to go on."""
    try:
        _tell(sweep())
    except StoreClosed:
        return False
    except StoreError as error:
        _warn(error)
    return True


def _tell(count: int) -> None:
    if count:
        log.info("%d expired items were removed.", count)


def _warn(error: StoreError) -> None:
    log.warning("Expired items were not removed now; the next sweep tries again: %s", error)

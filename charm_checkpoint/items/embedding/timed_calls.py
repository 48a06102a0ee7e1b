"""Calls of foreign code with a time-out: blocking ones beside this thread, async ones from wherever one is."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError, Future
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import suppress
from contextvars import copy_context
from typing import Any, TypeVar

from charm_checkpoint.items.embedding.threads import in_the_background
from charm_checkpoint.runtime.lifecycle import PerProcess

T = TypeVar("T")


def in_a_thread(work: Callable[[], T]) -> Future[T]:
    """Do something in a thread that does not keep the program from ending, in this context; return its future.

    It is done here if the interpreter is ending, which starts no more threads.
    """
    done: Future[T] = Future()
    done.set_running_or_notify_cancel()  # who no longer waits for it does not take the result from under it
    context = copy_context()

    def run() -> None:
        try:
            done.set_result(context.run(work))
        except StopIteration as error:  # which no future of an event loop's takes: its caller would wait for ever
            done.set_exception(RuntimeError("the call raised StopIteration").with_traceback(error.__traceback__))
        except BaseException as error:  # for whoever waits
            done.set_exception(error)

    try:
        in_the_background(run)
    except RuntimeError:
        run()
    return done


def within(work: Callable[[], T], timeout: float) -> T:
    """Return what ``work`` does, or raise `TimeoutError` after so many seconds; it is left to itself then."""
    return waited(in_a_thread(work), timeout)


def waited(future: Future[T], timeout: float) -> T:
    """Return the result of a future, or raise `TimeoutError` after so many seconds."""
    try:
        return future.result(timeout)
    except FutureTimeout:
        if future.done():
            raise  # it is the work's own
        raise TimeoutError(f"no answer in {timeout:g} seconds") from None
    except CancelledError as error:
        raise RuntimeError("the call was cancelled") from error


async def awaited(coroutine: Coroutine[Any, Any, T] | asyncio.Future[T], timeout: float) -> T:
    """Await something, or raise `TimeoutError` after so many seconds."""
    task = asyncio.ensure_future(coroutine)
    try:
        return await asyncio.wait_for(task, timeout)
    except (TimeoutError, asyncio.TimeoutError):
        if task.done() and not task.cancelled():
            raise
        raise TimeoutError(f"no answer in {timeout:g} seconds") from None


class LoopThread:
    """An event loop in a thread of its own, for blocking calls of what has async methods alone.

    It is the same one for all calls, since clients keep connections that belong to one loop. Any thread may call, also
    one in which an event loop runs. The thread starts with the first call, and ends with this object or the program.
    """

    def __init__(self) -> None:
        self._loop: PerProcess[_Loop] = PerProcess(_Loop, _Loop.close)

    def run(self, make: Callable[[], Coroutine[Any, Any, T]], timeout: float) -> T:
        """Return the result of a coroutine; raise `TimeoutError`, and cancel it, after so many seconds."""
        loop = self._loop.get().started()
        future = asyncio.run_coroutine_threadsafe(make(), loop)
        try:
            return waited(future, timeout)
        except TimeoutError:
            future.cancel()
            raise


class _Loop:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def started(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=_serve, args=(loop,), name="charm-embed-loop", daemon=True)
                self._thread.start()
                self._loop = loop
            return self._loop

    def close(self) -> None:
        with self._lock:
            loop, thread, self._loop = self._loop, self._thread, None
        if loop is None or thread is None:
            return
        with suppress(RuntimeError):  # it has ended
            loop.call_soon_threadsafe(loop.stop)
        if thread is not threading.current_thread():
            thread.join(1)


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
    finally:
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()

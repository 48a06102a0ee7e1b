"""One text for both halves: blocking calls and their async twins, each in a context of its own."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextvars import Context
from functools import partial
from typing import Any, Protocol, TypeVar

from charm_checkpoint.store import Store

T = TypeVar("T")

WRITING = frozenset({"setup", "put", "put_writes", "remove", "delete_thread", "copy_thread", "put_messages"})
"""The plans of a backend that change something."""


class Half(Protocol):
    """Calls methods in one way, blocking or async, from one context (see `contextvars`).

    What one half read is unknown to another: two halves are two programs that share a store object.
    """

    name: str

    def run(self, blocking: Callable[[], T], twin: Callable[[], Awaitable[T]]) -> T:
        """Return the result of whichever of the two this half calls."""
        ...

    def elsewhere(self) -> Half:
        """Return another half of the same kind, in a new, empty context."""
        ...

    def close(self) -> None:
        """Release what the half holds."""
        ...


class BlockingHalf:
    """Calls the blocking methods, in this thread."""

    name = "blocking"

    def __init__(self) -> None:
        self._context = Context()

    def run(self, blocking: Callable[[], T], twin: Callable[[], Awaitable[T]]) -> T:
        """Call ``blocking``."""
        return self._context.run(blocking)

    def elsewhere(self) -> BlockingHalf:
        """Return another one."""
        return BlockingHalf()

    def close(self) -> None:
        """Do nothing: nothing is held."""


class AsyncHalf:
    """Awaits the async methods, one after another in one task, on an event loop of its own."""

    name = "async"

    def __init__(self, loop: asyncio.AbstractEventLoop | None = None) -> None:
        self._owned = loop is None
        self._loop = loop or asyncio.new_event_loop()
        self._jobs: asyncio.Queue[tuple[Callable[[], Awaitable[Any]], asyncio.Future[Any]]] = asyncio.Queue()
        self._tasks = [Context().run(self._loop.create_task, self._work())]

    async def _work(self) -> None:
        while True:
            make, done = await self._jobs.get()
            try:
                done.set_result(await make())
            except Exception as error:
                done.set_exception(error)
            del make, done  # with the arguments, which somebody may wait to see collected

    def run(self, blocking: Callable[[], T], twin: Callable[[], Awaitable[T]]) -> T:
        """Await what ``twin`` returns."""
        done: asyncio.Future[T] = self._loop.create_future()
        self._jobs.put_nowait((twin, done))
        return self._loop.run_until_complete(done)

    def elsewhere(self) -> AsyncHalf:
        """Return another one on the same event loop."""
        other = AsyncHalf(self._loop)
        self._tasks += other._tasks
        return other

    def close(self) -> None:
        """End the tasks and the event loop."""
        if not self._owned:
            return
        for task in self._tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*self._tasks, return_exceptions=True))
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()


HALVES: dict[str, Callable[[], Half]] = {"blocking": BlockingHalf, "async": AsyncHalf}


class Twin:
    """An object whose methods are called by one half: ``twin.put(...)`` is ``put`` or ``await aput``.

    Iterators, blocking and async, come back as lists. A method without an async twin is called as it is.
    """

    def __init__(self, target: Any, half: Half) -> None:
        self.raw = target
        self.half = half

    def __getattr__(self, name: str) -> Any:
        member = getattr(self.raw, name)
        return partial(self._call, member, getattr(self.raw, f"a{name}", member)) if callable(member) else member

    def _call(self, member: Callable[..., Any], twin: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return self.half.run(lambda: collected(member(*args, **kwargs)), lambda: acollected(twin(*args, **kwargs)))

    def elsewhere(self) -> Twin:
        """Return the same object as another program's run would call it: in an empty context."""
        return Twin(self.raw, self.half.elsewhere())


class Steps:
    """A store's plans, each run as a transaction of its own by one half: ``steps.put(new)``."""

    def __init__(self, store: Store, half: Half) -> None:
        self._store = Twin(store, half)
        self.backend = store.backend

    def __getattr__(self, name: str) -> Any:
        return partial(self._run, name)

    def _run(self, name: str, *args: Any, **kwargs: Any) -> Any:
        return self._store.run(partial(getattr(self.backend, name), *args, **kwargs), write=name in WRITING)


def collected(result: Any) -> Any:
    """Return the items of an iterator, anything else as it is."""
    return list(result) if isinstance(result, Iterator) else result


async def acollected(result: Any) -> Any:
    """Return the items of an async iterator, the result of an awaitable, anything else as it is."""
    if isinstance(result, AsyncIterator):
        return [item async for item in result]
    return collected(await result) if inspect.isawaitable(result) else collected(result)

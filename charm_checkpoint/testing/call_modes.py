"""One test for both ways to call a method, blocking and async, each in a context of its own."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextvars import Context
from functools import partial
from typing import Any, Protocol, TypeVar

from charm_checkpoint.contract_items import BatchReply, ItemBatch
from charm_checkpoint.store import Store

T = TypeVar("T")

WRITING = frozenset({
    "setup", "put", "put_writes", "remove", "delete_thread", "erase_thread", "forget_erased", "pin", "compact",
    "copy_thread", "put_messages", "append_messages",
})  # fmt: skip
"""The plans of a backend that change something."""

WRITING_ITEMS = frozenset({"expire", "erase"})
"""The plans of a backend of items that change something whatever they are given."""


class CallMode(Protocol):
    """Calls methods in one way, blocking or async, from one context (see `contextvars`).

    What was read through one is unknown to another: two are as two programs that share a store object.
    """

    name: str

    def run(self, blocking: Callable[[], T], awaitable: Callable[[], Awaitable[T]]) -> T:
        """Return what ``blocking`` returns, or in async mode what ``awaitable`` does, awaited."""
        ...

    def elsewhere(self) -> CallMode:
        """Return another one of the same kind, in a new, empty context."""
        ...

    def close(self) -> None:
        """Release what this holds."""
        ...


class BlockingMode:
    """Calls the blocking methods, in this thread."""

    name = "blocking"

    def __init__(self) -> None:
        self._context = Context()

    def run(self, blocking: Callable[[], T], awaitable: Callable[[], Awaitable[T]]) -> T:
        """Call ``blocking``."""
        return self._context.run(blocking)

    def elsewhere(self) -> BlockingMode:
        """Return another one."""
        return BlockingMode()

    def close(self) -> None:
        """Do nothing: nothing is held."""


class AsyncMode:
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

    def run(self, blocking: Callable[[], T], awaitable: Callable[[], Awaitable[T]]) -> T:
        """Await what ``awaitable`` returns."""
        done: asyncio.Future[T] = self._loop.create_future()
        self._jobs.put_nowait((awaitable, done))
        return self._loop.run_until_complete(done)

    def elsewhere(self) -> AsyncMode:
        """Return another one on the same event loop."""
        other = AsyncMode(self._loop)
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


CALL_MODES: dict[str, Callable[[], CallMode]] = {"blocking": BlockingMode, "async": AsyncMode}


class InMode:
    """An object whose methods are called in one mode: ``saver.put(...)`` is ``put`` or ``await aput``.

    Iterators, blocking and async, come back as lists. A method that has no async one is called as it is.
    """

    def __init__(self, target: Any, mode: CallMode) -> None:
        self.raw = target
        self.mode = mode

    def __getattr__(self, name: str) -> Any:
        member = getattr(self.raw, name)
        return partial(self._call, member, getattr(self.raw, f"a{name}", member)) if callable(member) else member

    def _call(self, member: Callable[..., Any], async_member: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return self.mode.run(
            lambda: collected(member(*args, **kwargs)), lambda: acollected(async_member(*args, **kwargs))
        )

    def elsewhere(self) -> InMode:
        """Return the same object as another program's run would call it: in an empty context."""
        return InMode(self.raw, self.mode.elsewhere())


class PlansInMode:
    """A store's plans, each run in one mode as a transaction of its own: ``backend.put(new)``."""

    def __init__(self, store: Store, mode: CallMode) -> None:
        self._store = InMode(store, mode)
        self.backend = store.backend

    def __getattr__(self, name: str) -> Any:
        return partial(self._run, name)

    def _run(self, name: str, *args: Any, **kwargs: Any) -> Any:
        return self._store.run(partial(getattr(self.backend, name), *args, **kwargs), write=name in WRITING)


class ItemsInMode:
    """A store's plans of items, each run in one mode as a transaction of its own: ``items.entries(prefix)``."""

    def __init__(self, store: Store, mode: CallMode) -> None:
        self._store = InMode(store, mode)
        self.backend = store.items
        self.store = store
        self.mode = mode

    def __getattr__(self, name: str) -> Any:
        return partial(self._run, name, name in WRITING_ITEMS)

    def change(self, batch: ItemBatch) -> BatchReply:
        """Do a batch; one that only reads promises so."""
        reply: BatchReply = self._run("change", bool(batch.touches or batch.changes), batch)
        return reply

    def _run(self, name: str, write: bool, *args: Any, **kwargs: Any) -> Any:
        return self._store.run(partial(getattr(self.backend, name), *args, **kwargs), write=write)


def collected(result: Any) -> Any:
    """Return the items of an iterator, anything else as it is."""
    return list(result) if isinstance(result, Iterator) else result


async def acollected(result: Any) -> Any:
    """Return the items of an async iterator, the result of an awaitable, anything else as it is."""
    if isinstance(result, AsyncIterator):
        return [item async for item in result]
    return collected(await result) if inspect.isawaitable(result) else collected(result)

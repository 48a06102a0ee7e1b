"""A store, opened: its backend and driver, set up on first use."""

from __future__ import annotations

import asyncio
import itertools
import sys
from collections.abc import Callable
from traceback import walk_tb
from typing import Any, Protocol, TypeVar

from charm_checkpoint.contract import Backend, Driver
from charm_checkpoint.contract_items import ItemBackend
from charm_checkpoint.errors import (
    HOSTS,
    LoginRefused,
    ReadOnlyStore,
    StoreCorrupt,
    StoreError,
    TypeNotLoaded,
    corrupt,
    name_place,
)
from charm_checkpoint.moved import renamed
from charm_checkpoint.plan import MakePlan, Plan
from charm_checkpoint.runtime import forks
from charm_checkpoint.runtime.cache import Budget
from charm_checkpoint.runtime.handle import Handle
from charm_checkpoint.telemetry.watching import telling, watched
from charm_checkpoint.values.limits import DEFAULTS

T = TypeVar("T")

MISFITS = (TypeError, ValueError, LookupError, AttributeError, ArithmeticError)
"""What a plan that only reads raises where a reply has another shape than it should.

Drivers make errors of the package of all their own; what a program's function raises, such as one that returns a
password, stays what it is.
"""

OUTDATED = (
    "its schema is an older version's, or is not there yet, so nothing can be read before it is brought up to date: "
    "open it once with this version where it may be written, a replica at its primary, a file or a copy of it "
    "without mode=ro"
)
"""What to say of a store that is to be read only and cannot be set up."""

_numbers = itertools.count()

__getattr__ = renamed(__name__, {"CLOSING": "runtime.lifecycle.CLOSING"})


class History(Protocol):
    """Message history as plans, for a store that keeps messages otherwise than by `Backend.put_messages`."""

    def load(self, thread: str) -> Plan[list[dict[str, Any]]]:
        """Return a thread's messages, oldest first."""
        ...

    def save(self, thread: str, messages: list[dict[str, Any]]) -> Plan[bool]:
        """Replace a thread's messages, all at once; tell as `append` does."""
        ...

    def append(self, thread: str, messages: list[dict[str, Any]]) -> Plan[bool]:
        """Add messages at the end; writers at once all get theirs in. Tell whether `fold` is due."""
        ...

    def fold(self, thread: str) -> Plan[None]:
        """Put in order what many appends left, in a transaction of its own."""
        ...

    def delete(self, thread: str) -> Plan[None]:
        """Delete a thread's messages."""
        ...

    def forget(self, thread: str) -> Plan[None]:
        """Delete a thread's messages along with the thread: those alone that are no other thread's."""
        ...


def need_asyncio() -> None:
    """Raise `StoreError` where no event loop of asyncio runs: under trio, or in a coroutine that is stepped by hand."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        raise StoreError(
            "async methods need asyncio, and no event loop of asyncio is running here. Call the blocking method, the "
            "one without the a in front; under trio in a thread, as in "
            "await trio.to_thread.run_sync(memory.load_messages, thread_id)."
        ) from None


def _is_ours(error: Exception) -> bool:
    """Say whether code of this package raised an error, by itself or in what it called of the standard library."""
    names = [frame.f_globals.get("__name__", "") for frame, _ in walk_tb(error.__traceback__)]
    while names and names[-1].partition(".")[0] in sys.stdlib_module_names and names[-1] != "__main__":
        names.pop()
    return bool(names) and names[-1].partition(".")[0] == __name__.partition(".")[0]


class Store(Handle):
    """A backend and its driver. Any thread and any event loop may use it.

    The schema is created or migrated before the first plan runs, unless `auto_setup` says not
    to. ``login_hint`` is added to the error of a refused login. ``number`` tells the stores of a
    process apart. ``history`` is the store's own way to keep messages, if it has one, ``items`` its
    long-term memory. All that is remembered of the store is within ``budget``; a backend that
    remembers something itself is made with the same one. ``limits`` are how much its values may come to. ``system`` is
    what kind of store it is, as its URL's scheme has it. ``calls`` counts the plans that were run.
    """

    def __init__(
        self,
        backend: Backend,
        driver: Driver,
        history: History | None = None,
        *,
        items: ItemBackend | None = None,
        keeps_checkpoints: bool = True,
        budget: Budget | None = None,
    ) -> None:
        self.backend = backend
        self.driver = driver
        self.history = history
        self.items = items
        self.keeps_checkpoints = keeps_checkpoints
        self.budget = budget or Budget()
        self.limits = DEFAULTS
        self.expires_threads = False
        self.number = next(_numbers)
        self.login_hint = ""
        self.system = ""
        self.calls = 0
        self._ready = False
        self._sets_up = True
        self._at_close: list[Callable[[], object]] = []

    def at_close(self, call: Callable[[], object]) -> None:
        """Have something called whenever the store is closed; it is not to wait for anything."""
        self._at_close.append(call)

    def auto_setup(self, wanted: bool) -> None:
        """Say whether a schema that is not current is made so before the first plan; a newer one is refused anyway."""
        self._sets_up = wanted

    def run(self, make: MakePlan[T], *, write: bool, thread: str | None = None) -> T:
        """Run a plan, blocking; an error that something is damaged names ``thread`` if it names no place."""
        operation = watched(make, self.system, self.items, thread, write)
        if operation is None:
            return self._run(make, write, thread)
        with telling(operation):
            return self._run(operation.counting(make, self.driver), write, thread)

    def _run(self, make: MakePlan[T], write: bool, thread: str | None) -> T:
        self.calls += 1
        forks.check()
        try:
            if not self._ready:
                self._set_up(self._sets_up)
            return self.driver.run(make, write=write)
        except (LoginRefused, StoreCorrupt, TypeNotLoaded) as error:
            self._explain(error, thread)
            raise
        except MISFITS as error:
            if write or isinstance(error, HOSTS) or not _is_ours(error):
                raise
            raise self._misfit(error, thread) from error

    async def arun(self, make: MakePlan[T], *, write: bool, thread: str | None = None) -> T:
        """Run a plan as `run` does, without blocking the event loop, which is asyncio's; see `need_asyncio`."""
        operation = watched(make, self.system, self.items, thread, write)
        if operation is None:
            return await self._arun(make, write, thread)
        with telling(operation):
            return await self._arun(operation.counting(make, self.driver), write, thread)

    async def _arun(self, make: MakePlan[T], write: bool, thread: str | None) -> T:
        self.calls += 1
        need_asyncio()
        forks.check()
        try:
            if not self._ready:
                await self._aset_up(self._sets_up)
            return await self.driver.arun(make, write=write)
        except (LoginRefused, StoreCorrupt, TypeNotLoaded) as error:
            self._explain(error, thread)
            raise
        except MISFITS as error:
            if write or isinstance(error, HOSTS) or not _is_ours(error):
                raise
            raise self._misfit(error, thread) from error

    def _explain(self, error: LoginRefused | StoreCorrupt | TypeNotLoaded, thread: str | None) -> None:
        if isinstance(error, LoginRefused):
            error.hint(self.login_hint)
        elif self._ready:  # or it is not about this thread
            name_place(error, thread)

    def _misfit(self, error: Exception, thread: str | None) -> StoreCorrupt:
        damage = corrupt("What the store returned is damaged", error)
        self._explain(damage, thread)
        return damage

    def setup(self) -> None:
        """Create or migrate the schema, if need be. Two threads may both do it: it is safe to repeat."""
        forks.check()
        try:
            self._set_up()
        except LoginRefused as error:
            error.hint(self.login_hint)
            raise

    def _set_up(self, wanted: bool = True) -> None:
        if not self.driver.run(self.backend.is_current, write=False) and wanted:
            try:
                self.driver.run(self.backend.setup, write=True)
            except ReadOnlyStore as error:
                error.hint(OUTDATED)
                raise
        self._ready = True

    async def asetup(self) -> None:
        """Create or migrate the schema, if need be, without blocking the event loop."""
        need_asyncio()
        forks.check()
        try:
            await self._aset_up()
        except LoginRefused as error:
            error.hint(self.login_hint)
            raise

    async def _aset_up(self, wanted: bool = True) -> None:
        if not await self.driver.arun(self.backend.is_current, write=False) and wanted:
            try:
                await self.driver.arun(self.backend.setup, write=True)
            except ReadOnlyStore as error:
                error.hint(OUTDATED)
                raise
        self._ready = True

    def close(self) -> None:
        """Release every connection, when its call is done; waits for others' calls a little, for its own never.

        So a signal handler may close a store that its thread is using.
        """
        forks.check()
        self._tell_of_closing()
        self.driver.close()

    def _tell_of_closing(self) -> None:
        for call in self._at_close:
            call()

    async def aclose(self) -> None:
        """Release every connection, as `close` does, without blocking the event loop."""
        need_asyncio()
        forks.check()
        self._tell_of_closing()
        await self.driver.aclose()

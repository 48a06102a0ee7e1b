"""Connections of a store at the other end of a network: some for blocking calls, and some for each event loop.

What may happen to a process in the middle of a call is dealt with here, for all such stores. Interrupts and signals:
there is no lock, and a connection whose call did not come to its end is never used again. Forks, also those that
Python is not told of: what a child inherits is neither used nor closed there, see `PerProcess`.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeVar

from charm_checkpoint.errors import StoreClosed, StoreUnavailable
from charm_checkpoint.runtime.clock import monotonic
from charm_checkpoint.runtime.lifecycle import OwnerProcess, PerLoop, PerProcess, keep_inherited
from charm_checkpoint.runtime.semaphore import Permit, Semaphore
from charm_checkpoint.stores.shared.connection_maker import Maker, Sharing

T = TypeVar("T")

SHARE = 1 / 3
"""The part of a call's time that a connection which was idle may take: it may be dead, and a new one needs time too."""

PROBE = 2.0
"""Seconds at most for a test of a connection."""


class PooledConnection:
    """A connection with the times at which it was made and last used.

    ``other_mode`` is its object for the other way to call, blocking or async, if it was converted from one.
    """

    __slots__ = ("connection", "made_at", "other_mode", "used_at")

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.other_mode: Any = None
        self.made_at = self.used_at = monotonic()


class LoopPool:
    """The idle connections of one event loop, or those of blocking calls, and the semaphore that limits their number.

    What was used last is taken first, so that those not needed grow old.
    """

    def __init__(self, limits: PoolLimits, loop: asyncio.AbstractEventLoop | None) -> None:
        self.limits = limits
        self.loop = loop
        self.semaphore = Semaphore(limits.size)
        self._owner = OwnerProcess()
        self.ended = False
        self._idle: deque[PooledConnection] = deque()

    def __len__(self) -> int:
        """Return how many are idle."""
        return len(self._idle)

    def take(self) -> PooledConnection | None:
        """Return a connection, None if there is none fit to be used."""
        self._drop_old()
        while True:
            try:
                held = self._idle.pop()
            except IndexError:
                return None
            if self.limits.maker.is_fit(held.connection, done=True) and not self._is_old(held):
                return held
            self.close(held)

    def put(self, held: PooledConnection, *, done: bool) -> None:
        """Keep a connection for the next call, or close it if it is not fit for that."""
        if self.limits.maker.is_lost(held.connection):
            self.clear()  # rather connect anew than find out one by one
        held.used_at = monotonic()
        if self.limits.maker.is_fit(held.connection, done=done) and not self._is_old(held):
            self._idle.append(held)
            self._drop_old()
        else:
            self.close(held)
        if self.ended:
            self.clear()

    def _is_old(self, held: PooledConnection) -> bool:
        return monotonic() - held.made_at > self.limits.max_lifetime

    def _drop_old(self) -> None:
        while self._idle:
            oldest = self._idle[0]
            if monotonic() - oldest.used_at <= self.limits.max_idle:
                return
            try:
                self._idle.remove(oldest)
            except ValueError:  # another thread was faster
                return
            self.close(oldest)

    def close(self, held: PooledConnection) -> None:
        """Close a connection, unless it is a parent's."""
        if self._owner.is_current():
            self.limits.maker.close(held.connection, self.loop)
        else:
            keep_inherited(held)

    def clear(self) -> None:
        """Close the idle ones."""
        while True:
            try:
                held = self._idle.pop()
            except IndexError:
                return
            self.close(held)

    def end(self) -> None:
        """Close the idle ones, and from now on whatever comes back."""
        self.ended = True
        self.clear()


class PoolLimits:
    """What makes the connections of a store, how many there may be, and how old they may become; times are in seconds.

    ``option`` is the name of the option that says how many, and ``timeout`` how long a call may take. An idle
    connection is tested before use when it was idle for longer than ``tested_after``. After an error of the
    ``silence`` types, which say that no answer came, no connection that is idle then is used again.
    """

    def __init__(
        self,
        maker: Maker,
        size: int,
        option: str,
        timeout: float,
        *,
        max_lifetime: float = math.inf,
        max_idle: float = math.inf,
        tested_after: float = 30.0,
        silence: tuple[type[BaseException], ...] = (),
        sharing: Sharing | None = None,
    ) -> None:
        self.maker = maker
        self.size = size
        self.option = option
        self.timeout = timeout
        self.max_lifetime = max_lifetime
        self.max_idle = max_idle
        self.tested_after = tested_after
        self.silence = silence
        self.sharing = sharing

    def exhausted(self) -> StoreUnavailable:
        """Return the error for a call that was given no connection in time."""
        return StoreUnavailable(
            f"all {self.size} connections were at work for {self.timeout:g} s; nothing was written. "
            f"Raise {self.option}, or timeout"
        )


class ProcessPools:
    """The connections that one process has to a store."""

    def __init__(self, limits: PoolLimits) -> None:
        self.blocking = LoopPool(limits, None)
        self.loops: PerLoop[LoopPool] = PerLoop(partial(LoopPool, limits), LoopPool.end)

    def all(self) -> list[LoopPool]:
        """Return the pools of all event loops, and that of blocking calls."""
        return [self.blocking, *self.loops.all()]

    def idle(self) -> int:
        """Return how many connections are idle."""
        return sum(len(pool) for pool in self.all())

    def has_spare(self) -> bool:
        """Tell whether any is idle."""
        return self.idle() > 0

    def take(self, pool: LoopPool) -> PooledConnection | None:
        """Return an idle connection, from another pool if this one has none; None if there is none."""
        found = pool.take()
        if found is not None or pool.limits.sharing is None:
            return found
        for other in self.all():
            if other is not pool and (held := other.take()) is not None:
                if (other.loop is None) != (pool.loop is None):
                    converted = held.other_mode or pool.limits.sharing.convert(held.connection, pool.loop)
                    held.connection, held.other_mode = converted, held.connection
                return held
        return None

    def end(self) -> None:
        """Close the idle ones; what is at work is closed when it is done."""
        self.blocking.end()
        self.loops.close_all()


class Pools:
    """The connections of one store, or of one of its servers."""

    def __init__(self, limits: PoolLimits) -> None:
        self._limits = limits
        self._closed = False
        self._own = PerProcess(partial(ProcessPools, limits), ProcessPools.end)

    def leased(self) -> int:
        """Return how many connections are at work."""
        return sum(len(pool.semaphore) for pool in self._own.get().all())

    def idle(self) -> int:
        """Return how many connections are idle."""
        return self._own.get().idle()

    # ----------------------------------------------------------------- lending

    def lease(self) -> ConnectionLease:
        """Return a lease for a blocking call; nothing is taken yet. Raises `StoreClosed`."""
        own = self._own.get()
        return ConnectionLease(own.blocking, own, self._check)

    def alease(self) -> ConnectionLease:
        """Return a lease for a call of the running event loop; nothing is taken yet. Raises `StoreClosed`."""
        self._check()
        own = self._own.get()
        return ConnectionLease(own.loops.get(), own, self._check)

    def use(self, work: Callable[[Any], T], left: float, *, sure: bool = False) -> T:
        """Call a function with a connection, all within so many seconds.

        ``sure`` has the connection tested in any case, for a call that cannot be made again.
        """
        lease = self.lease()
        try:
            result = work(lease.open(left, sure))
            lease.done = True
            return result
        except self._limits.silence:
            self.clear()  # rather connect anew than find out one by one
            raise
        finally:
            try:
                lease.end()
            finally:
                lease.leave()

    async def ause(self, work: Callable[[Any], Awaitable[T]], left: float, *, sure: bool = False) -> T:
        """Await a coroutine function with a connection, as `use` does."""
        lease = self.alease()
        try:
            result = await work(await lease.aopen(left, sure))
            lease.done = True
            return result
        except self._limits.silence:
            self.clear()  # rather connect anew than find out one by one
            raise
        finally:
            try:
                lease.end()
            finally:
                lease.leave()

    def _check(self) -> None:
        if self._closed:
            raise StoreClosed()

    # ----------------------------------------------------------------- closing

    def clear(self) -> None:
        """Close the idle ones, of all event loops."""
        for pool in self._own.get().all():
            pool.clear()

    def close(self) -> None:
        """Close the idle ones, of all event loops; what is at work is closed when it is done.

        It waits for nothing, so a signal's handler may call it in the middle of a call.
        """
        self._closed = True
        self._own.get().end()


class ConnectionLease(Permit):
    """A connection for one call, and the permit to have one. `end` must be called, and may be called again."""

    done = False
    _held: PooledConnection | None = None

    def __init__(self, pool: LoopPool, pools: ProcessPools, check: Callable[[], None]) -> None:
        super().__init__(pool.semaphore)
        self._pool = pool
        self._pools = pools
        self._maker = pool.limits.maker
        self._check = check

    def open(self, left: float, sure: bool = False) -> Any:
        """Return a connection, old or new, within so many seconds."""
        deadline = self._begin(left)
        if not self.acquire(left):
            raise self._pool.limits.exhausted()
        while (connection := self._pick(deadline, sure)) is not None:
            if not self._is_doubtful(sure):
                return connection
            if self._maker.test(connection):
                return self._lend(deadline)
            self._drop_all()
        return self._new(self._maker.open(deadline - monotonic()), deadline, sure)

    async def aopen(self, left: float, sure: bool = False) -> Any:
        """Return a connection as `open` does."""
        deadline = self._begin(left)
        if not await self.aacquire(left):
            raise self._pool.limits.exhausted()
        while (connection := self._pick(deadline, sure)) is not None:
            if not self._is_doubtful(sure):
                return connection
            if await self._maker.atest(connection):
                return self._lend(deadline)
            self._drop_all()
        return self._new(await self._maker.aopen(deadline - monotonic()), deadline, sure)

    def _begin(self, left: float) -> float:
        self._check()
        return monotonic() + left

    def _pick(self, deadline: float, sure: bool) -> Any:
        self._check()
        self._held = self._pools.take(self._pool)
        if self._held is None:
            return None
        now = monotonic()
        share = (deadline - now) * SHARE
        return self._lend(now + (min(share, PROBE) if self._is_doubtful(sure) else share))

    def _new(self, connection: Any, deadline: float, sure: bool) -> Any:
        self._held = PooledConnection(connection)
        sharing = self._pool.limits.sharing
        if sharing is not None and not sure:
            # Not a function that holds this lease: nobody would see that it was left by an interrupt.
            sharing.watch(connection, self._pools.has_spare)
        return self._lend(deadline)

    def _lend(self, deadline: float) -> Any:
        assert self._held is not None
        self._maker.lend(self._held.connection, deadline)
        return self._held.connection

    def _is_doubtful(self, sure: bool) -> bool:
        held = self._held
        return held is not None and (sure or monotonic() - held.used_at > self._pool.limits.tested_after)

    def _drop_all(self) -> None:
        """Close a connection that did not pass its test, and those that are idle with it."""
        self._drop()
        self._pool.clear()

    def _drop(self) -> None:
        held, self._held = self._held, None
        if held is not None:
            self._pool.close(held)

    def end(self) -> None:
        """Give back the connection, if its call came to its end, and the permit."""
        held, self._held = self._held, None
        if held is not None:
            self._pool.put(held, done=self.done)
        self.release()

    def __del__(self) -> None:
        if self._held is not None:
            self._drop()

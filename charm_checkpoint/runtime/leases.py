"""Leases: what a call has taken, and gives back as it ends; if it was interrupted, the next call does so.

Ctrl-C may come after any call of a function, so also between ``lock.acquire()`` and the ``try``
behind it, in an ``__exit__`` or in a ``finally``. Whatever a call notes down, there is a moment at
which the note is wrong. So what counts is not what a call has noted but whether it goes on: a
lease is that of a call, and is over when the call is, whether or not it was given back.

A signal handler may come in between at the same moments, and use what its thread is using: the
locks here may be taken again by who has them, and nobody waits for a call of his own thread.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

from charm_checkpoint.errors import StoreUnavailable
from charm_checkpoint.runtime import forks
from charm_checkpoint.runtime.clock import monotonic

RECHECK = 0.05
"""Seconds after which those who wait look again, should whoever was to wake them have been interrupted."""

FAIR_AFTER = 0.02
"""Seconds of waiting after which a lease goes to whoever waits; until then a newcomer may be faster."""

IN_OWN_WAY = "is in the midst of a call of this thread, which a signal handler or a callback cannot wait for"
"""The end of an error for a call that needs what an interrupted call of its own thread still holds."""


class Lease:
    """The claim of one call; ``call`` is the frame it runs in. With ``alone``, it is exclusive."""

    __slots__ = ("_call", "alone", "held", "thread")

    def __init__(self, call: FrameType, *, alone: bool = True) -> None:
        self._call: FrameType | None = call
        self.thread = threading.get_ident()
        self.alone = alone
        self.held: list[Any] = []

    def end(self) -> None:
        """Mark it as given back."""
        self._call = None

    def is_over(self) -> bool:
        """Tell whether it was given back, or its call has ended without that."""
        call = self._call
        if call is None:
            return True
        try:
            # Refused while the frame is being run, in this thread or any other. What is cleared of
            # one that has ended are variables that only a debugger would look at.
            call.clear()
        except RuntimeError:
            return False
        self._call = None
        return True

    def is_mine(self) -> bool:
        """Tell whether its call is one of this thread's."""
        return self.thread == threading.get_ident()


class Leases:
    """The leases of one thing: any number at once, but of those that are ``alone`` one at a time.

    None is to be had while this process is being forked.

    ``drop`` is a function of C that frees what a lease held whose call was interrupted.
    """

    def __init__(self, drop: Callable[[Any], Any] = id) -> None:
        self._drop = drop
        self.start_over()

    def start_over(self) -> None:
        """Make ready for a forked child, in which no call goes on."""
        self._mutex = threading.RLock()
        self._leases: set[Lease] = set()
        self._alone: Lease | None = None
        self._waiting: dict[Lease, tuple[threading.Lock, float]] = {}

    def take(self, lease: Lease, timeout: float, check: Callable[[], object] = bool) -> bool:
        """Take a lease, waiting so many seconds for it; tell whether it was to be had.

        ``check`` raises if it has become useless to wait. What a call of this thread holds is not waited for.
        """
        return self._admit(lease) or self._wait(lease, timeout, check)

    def _admit(self, lease: Lease) -> bool:
        with self._mutex:
            if self._alone is lease:  # it was passed on
                return True
            if forks.is_forking() or (lease.alone and self._alone is not None and not self._heal()):
                return False
            if lease.alone:
                self._alone = lease
            self._leases.add(lease)
            return True

    def _wait(self, lease: Lease, timeout: float, check: Callable[[], object]) -> bool:
        since = monotonic()
        deadline = since + timeout
        gate = threading.Lock()
        gate.acquire()
        try:
            while True:
                self._waiting[lease] = gate, since
                if self._admit(lease):
                    return True
                left = deadline - monotonic()
                if left <= 0 or self.is_in_own_way(lease):
                    return False
                gate.acquire(timeout=min(left, RECHECK))
                check()
        finally:
            self._waiting.pop(lease, None)

    def is_in_own_way(self, lease: Lease) -> bool:
        """Tell whether this thread has what it would wait for, as when a signal handler calls in between."""
        holder = self._alone
        if not lease.alone or holder is None or holder is lease:
            return False
        return holder.is_mine() and not holder.is_over()

    def why_not(self, lease: Lease, timeout: float) -> str:
        """Return why a lease could not be taken."""
        if self.is_in_own_way(lease):
            return IN_OWN_WAY
        return f"was busy with other writes of this process for {timeout:g} s"

    def give(self, lease: Lease) -> None:
        """Give a lease back."""
        with self._mutex:
            if self._alone is lease:
                self._alone = None
            self._leases.discard(lease)
            lease.end()
            if self._waiting:
                self._wake_one()

    def _wake_one(self) -> None:
        for waiter, (gate, since) in list(self._waiting.items()):
            if not waiter.is_over():
                is_next = waiter.alone and self._alone is None and not forks.is_forking()
                if is_next and monotonic() - since > FAIR_AFTER:
                    self._alone = waiter
                    self._leases.add(waiter)  # so that a fork waits for it
                if gate.locked():
                    gate.release()
                return
            self._waiting.pop(waiter, None)

    def wake(self) -> None:
        """Have everybody who waits look again."""
        with self._mutex:
            for gate, _ in list(self._waiting.values()):
                if gate.locked():
                    gate.release()

    def _heal(self) -> bool:
        """Take back what calls left that are over; tell whether nobody is alone now."""
        for lease in list(self._leases):
            if lease.is_over():
                self._leases.discard(lease)
                consume(lease.held, self._drop)
        if self._alone is not None and self._alone.is_over():
            self._alone = None
        return self._alone is None

    def going_on(self) -> list[Lease]:
        """Return the leases whose calls go on."""
        with self._mutex:
            self._heal()
            return list(self._leases)

    def left_behind(self) -> list[Lease]:
        """Return, in a forked child, the leases that its parent had given: those of other threads are never over."""
        return [lease for lease in self._leases if not lease.is_over()]

    def is_free(self) -> bool:
        """Tell whether nobody has a lease that is alone."""
        with self._mutex:
            return self._heal()

    def wait_for_others(self, until: float) -> bool:
        """Wait, until then by the monotonic clock, for the calls of other threads; tell whether none goes on."""
        pause = 0.0002
        while any(not lease.is_mine() for lease in self.going_on()):
            left = until - monotonic()
            if left <= 0:
                return False
            time.sleep(min(pause, left))
            pause = min(pause * 1.5, 0.01)
        return True


def note(noted: list[Any], function: Callable[..., Any], *args: Any) -> None:
    """Append what a function of C returns, in one step: no interrupt comes between the call and the note."""
    noted.extend(map(function, *[(arg,) for arg in args]))


def move(taken: list[Any], kept: list[Any]) -> None:
    """Move the last item of a list to the end of another, if there is one, in one step."""
    try:
        kept.extend(map(taken.pop, (-1,)))
    except IndexError:  # another thread had it
        return


def consume(noted: list[Any], function: Callable[[Any], Any]) -> None:
    """Call a function of C with each item and forget it, the last first: in one step each."""
    while noted:
        try:
            list(map(function, map(noted.pop, (-1,))))
        except IndexError:  # another thread had it
            return


class Inside:
    """Refuses a call that comes in between another one of the same thread, under a lock that lets it in."""

    __slots__ = ("_lease", "_place")

    def __init__(self, place: object) -> None:
        self._place = place
        self._lease: Lease | None = None

    def is_free(self) -> bool:
        """Tell whether no call is inside."""
        return self._lease is None or self._lease.is_over()

    def __enter__(self) -> None:
        if self._lease is not None and not self.is_free():
            raise StoreUnavailable(f"{self._place} {IN_OWN_WAY}; nothing was done.")
        self._lease = Lease(sys._getframe(1))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lease = None

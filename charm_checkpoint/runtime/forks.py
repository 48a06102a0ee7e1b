"""Hooks for forks: those that Python knows of, and those that it does not.

A child has its parent's memory and none of its threads: locks that they held are never released,
work that was handed to them is never done, and sockets and files are shared with the parent.
`os.fork` runs hooks that put that right. A host that forks in C runs none (uWSGI, unless it is
told to): there the child finds out at its first call, by its process id.

Most objects need no hook of their own: `lifecycle.PerProcess` is made anew in a child.
"""

from __future__ import annotations

import atexit
import itertools
import os
import threading
import weakref
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol, TypeVar

from charm_checkpoint.runtime.clock import monotonic

F = TypeVar("F", bound=Callable[[], None])

WAIT = 10.0
"""Seconds that a fork waits for calls under way, of all stores together."""

ADVICE = (
    "Under uWSGI set `lazy-apps = true`, or `py-call-uwsgi-fork-hooks = true`; elsewhere open the store in the child, "
    "fork before it is used, or start processes by spawn."
)
"""What to do where a child cannot start over."""


class Follower(Protocol):
    """An object that a forked child must reset. `start_over` may be called again, and must wait for nothing."""

    def start_over(self) -> None:
        """Make ready for a forked child: threads are gone, locks may be held, connections are the parent's."""
        ...


class Holder(Follower, Protocol):
    """An object that must be idle when its process forks. It lets no call begin while `is_forking`."""

    def hold(self, until: float) -> None:
        """Wait, until then by the monotonic clock, for calls under way, and make ready for the fork."""
        ...


_pid = os.getpid()
_forks: list[int] = []
"""One item for each thread that is forking this process."""

_numbers = itertools.count()
_followers: dict[int, weakref.ref[Any]] = {}
_holders: dict[int, weakref.ref[Any]] = {}
_functions: list[Callable[[], None]] = []
_locks: dict[tuple[int, str], Any] = {}


def follow(follower: Follower) -> None:
    """Have an object start over in every forked child, for as long as it lives."""
    _add(_followers, follower)


def hold(holder: Holder) -> None:
    """Have an object held over every fork that Python knows of, and start over in every child."""
    _add(_holders, holder)
    _add(_followers, holder)


def _add(members: dict[int, weakref.ref[Any]], member: object) -> None:
    number = next(_numbers)
    members[number] = weakref.ref(member, lambda _: members.pop(number, None))


def _living(members: dict[int, weakref.ref[Any]]) -> list[Any]:
    # A list of a dictionary is made in one step; any other way, threads that add to it get in between.
    return [found for member in list(members.values()) if (found := member()) is not None]


def is_forking() -> bool:
    """Tell whether a thread is forking this process; in a child that starts over, whether Python knew of the fork."""
    return bool(_forks)


def in_child(function: F) -> F:
    """Have a function called in every forked child; a decorator."""
    _functions.append(function)
    return function


def check() -> None:
    """Start over if this process was forked without hooks; to be called before anything that a fork may have left."""
    if os.getpid() != _pid:
        _start_over()


def lock(name: str) -> Any:
    """Return this process's lock of that name; one that was held at a fork is left behind. To be used by `with`."""
    return _locks.setdefault((os.getpid(), name), threading.RLock())


def _start_over() -> None:
    global _pid
    # Several threads of a child may find out at once. Whoever is interrupted leaves it to the next.
    with lock(__name__):
        if os.getpid() != _pid:
            for follower in _living(_followers):
                follower.start_over()
            for function in _functions:
                function()
            _forks.clear()
            _pid = os.getpid()


def _before_fork() -> None:
    until = monotonic() + WAIT
    for holder in _living(_holders):
        holder.hold(until)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_child=_start_over)
    # Functions of C, which no interrupt gets into: what was raised is lowered, whatever becomes of the others.
    # Of those before a fork, the last to be registered is the first to run.
    os.register_at_fork(before=partial(_forks.append, 1), after_in_parent=partial(_forks.pop, -1))

# What a child inherited and never used must not be closed at its end either. Functions run at exit in reverse order:
# finalizers', which wait for threads, are registered with the first of them, and must not run before this one.
weakref.finalize(check, int)
atexit.register(check)

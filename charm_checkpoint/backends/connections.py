"""The connections to one SQLite file: who has which, and when they are closed.

One connection writes, and whoever wants to write waits for it in turn. As many read as threads
read at once; they are kept for the next. RAM has one connection for both.

SQLite must not be carried across a fork. Its locks belong to the process, and its own notes of
who holds them are copied: in the child, even a connection opened afresh would trust those
notes, hold no lock at all, and lose its writes when the parent cleans up the log. So before a
fork every connection is closed, and both processes open new ones when they need them.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import weakref
from collections.abc import Callable

from charm_checkpoint.errors import StoreClosed, StoreUnavailable

KEPT = 32
"""Connections at rest for reading; more are closed when they are given back."""

_all: weakref.WeakSet[Connections] = weakref.WeakSet()
_held: list[Connections] = []
_forking = threading.Lock()
_inherited: list[sqlite3.Connection] = []
"""Connections of the parent's that a fork came too early for: not to be used, not even to be closed."""


class Connections:
    """Opens connections as they are needed. ``place`` names the file in errors."""

    def __init__(self, open: Callable[[], sqlite3.Connection], place: str, timeout: float, *, in_memory: bool) -> None:
        self._open = open
        self._place = place
        self._timeout = timeout
        self._in_memory = in_memory
        self._closed = False
        self._stranded = False
        self._has_turn = self._was_quiet = False
        self._at_rest: list[sqlite3.Connection] = []
        self._writer: list[sqlite3.Connection] = []
        self._renew()
        weakref.finalize(self, _close_all, self._at_rest, self._writer)
        _all.add(self)

    def _renew(self) -> None:
        self._turn = threading.Lock()
        self._lock = threading.Lock()
        self._quiet = threading.Condition(self._lock)
        self._awaited = False
        self._reading = 0

    def take(self, write: bool) -> sqlite3.Connection:
        """Return a connection, to be given back; raises `StoreClosed`, `StoreUnavailable`, sqlite3's errors."""
        return self._take_writer() if write or self._in_memory else self._take_reader()

    def give(self, connection: sqlite3.Connection, write: bool) -> None:
        """Give back what `take` returned."""
        if write or self._in_memory:
            self._turn.release()
        else:
            self._rest(connection)

    def leased(self) -> int:
        """Return how many connections are at work."""
        return self._reading + self._turn.locked()

    def _take_reader(self) -> sqlite3.Connection:
        with self._lock:
            self._check()
            self._reading += 1
            if self._at_rest:
                return self._at_rest.pop()
        try:
            return self._open()
        except BaseException:
            self._rest(None)
            raise

    def _rest(self, connection: sqlite3.Connection | None) -> None:
        with self._lock:
            self._reading -= 1
            if self._awaited:
                self._quiet.notify_all()
            if connection is not None and not self._closed and len(self._at_rest) < KEPT:
                self._at_rest.append(connection)
                return
        if connection is not None:
            connection.close()

    def _take_writer(self) -> sqlite3.Connection:
        turn = self._turn
        if not turn.acquire(timeout=self._timeout):
            raise StoreUnavailable(f"{self._place} was busy with other writes of this process for {self._timeout:g} s.")
        try:
            self._check()
            if not self._writer:
                self._writer.append(self._open())
            return self._writer[0]
        except BaseException:
            turn.release()
            raise

    def _check(self) -> None:
        if self._closed:
            raise StoreClosed()
        if self._stranded:
            raise StoreUnavailable(
                f"{self._place} was being used by another thread when this process was forked, so it cannot be used "
                "in here. Fork before the store is used, or start processes by spawn."
            )

    def shut(self) -> None:
        """Let nobody take a connection any more."""
        self._closed = True

    def close(self) -> None:
        """Close the connections, that for writing when its turn is over, others when they are given back."""
        self.shut()
        with self._lock:
            _close_all(self._at_rest)
        with self._turn:
            _close_all(self._writer)

    # ------------------------------------------------------------------ forks

    def hold(self) -> None:
        """Wait until nobody is at work, close the connections and keep everybody out."""
        self._has_turn = self._turn.acquire(timeout=self._timeout)
        self._lock.acquire()
        self._awaited = True
        self._was_quiet = self._quiet.wait_for(lambda: not self._reading, self._timeout) and self._has_turn
        if self._was_quiet and not self._in_memory:
            _close_all(self._at_rest)
            _close_all(self._writer)

    def go_on(self) -> None:
        """Undo `hold`, in the process that forked."""
        self._awaited = False
        self._lock.release()
        if self._has_turn:
            self._turn.release()

    def start_over(self, held: bool) -> None:
        """Make ready for the child: its threads and locks are gone. RAM is a copy of its own."""
        if not (held and self._was_quiet):
            _inherited.extend([*self._at_rest, *self._writer])
            self._at_rest.clear()
            self._writer.clear()
            self._stranded = True
        self._renew()


def _close_all(*lists: list[sqlite3.Connection]) -> None:
    for connections in lists:
        while connections:
            connections.pop().close()


def _before_fork() -> None:
    _forking.acquire()
    for connections in list(_all):
        connections.hold()
        _held.append(connections)


def _after_fork_in_parent() -> None:
    while _held:
        _held.pop().go_on()
    _forking.release()


def _after_fork_in_child() -> None:
    global _forking
    _forking = threading.Lock()
    for connections in list(_all):
        connections.start_over(connections in _held)
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)

"""The connections to one SQLite file: which call uses which, and when they are closed.

There is one connection for writes, which one call uses at a time, and as many for reads as threads
read at once; idle ones are kept. A database in RAM has one for both.

SQLite must not be carried across a fork. Its locks belong to the process, and its own notes of
who holds them are copied: in the child, even a connection opened afresh would trust those
notes, hold no lock at all, and lose its writes when the parent cleans up the log. So before a
fork every connection is closed, and both processes open new ones when they need them. A child
whose parent could not do so is told, at each call.

A connection to a file that its path no longer names is closed too, see open_file.py.
"""

from __future__ import annotations

import os
import sqlite3
import sys
import weakref
from collections.abc import Callable, Iterable
from types import FrameType, TracebackType

from charm_checkpoint.errors import StoreClosed, StoreUnavailable
from charm_checkpoint.runtime import forks
from charm_checkpoint.runtime.leases import Lease, Leases, consume, move
from charm_checkpoint.runtime.lifecycle import OwnerProcess, closing_deadline
from charm_checkpoint.stores.sqlite.open_file import Connection, NamedFile

LAST_CALL = 2.0
"""Seconds that the end of a program waits for a daemon thread's call."""

KEPT = 32
"""Connections at rest for reading; more are closed when they are given back."""

_all: weakref.WeakValueDictionary[int, Connections] = weakref.WeakValueDictionary()

_lost: dict[str, str] = {}
"""Files that the parent had open when this process was forked, and what to say of them."""


class Connections:
    """Opens connections as they are needed: ``open`` puts one into a list. RAM has no ``file``."""

    def __init__(self, open: Callable[[list[Connection]], None], file: NamedFile | None, timeout: float) -> None:
        self._open = open
        self._file = file
        self._place = file.path if file else ":memory:"
        self._timeout = timeout
        self._in_memory = file is None
        self._closed = False
        self._lost = ""
        self._at_rest: list[Connection] = []
        self._writer: list[Connection] = []
        self._leases = Leases(sqlite3.Connection.close)
        self._renew()
        forks.hold(self)
        _all[id(self)] = self

    def _renew(self) -> None:
        # Not a `PerProcess`: a child keeps what is in RAM, and what was open in the parent is lost to it for good.
        parts = self._file, self._leases, self._at_rest, self._writer
        self._end = weakref.finalize(self, _end, weakref.ref(self), OwnerProcess(), *parts)

    def lend(self, write: bool) -> Loan:
        """Return what lends a connection to a block; it raises `StoreClosed`, `StoreUnavailable`, sqlite3's errors."""
        return Loan(self, sys._getframe(1), alone=write or self._in_memory)

    def leased(self) -> int:
        """Return how many connections are at work."""
        return len(self._leases.going_on())

    # -------------------------------------------------------------- lending

    def confirm(self, connection: Connection) -> None:
        """See that what the borrower of the writer has committed is where others look for it, or raise."""
        if self._file and not self._file.keeps(connection):
            error = self._file.moved(connection)
            self._leave(self._writer)
            raise error

    def _take(self, loan: Loan) -> Connection:
        if not self._leases.take(loan, self._timeout, self._check):
            raise StoreUnavailable(f"{self._place} {self._leases.why_not(loan, self._timeout)}.")
        self._check()
        while True:  # until none is at rest that has a file open which was moved
            connection = self._of_writer(loan) if loan.alone else self._of_reader(loan)
            if connection.in_transaction:  # whoever had it was interrupted, and so was his taking it back
                connection.execute("ROLLBACK")
            if self._file is None or self._file.names(connection):
                return connection
            self._leave(self._writer if loan.alone else loan.held)

    def _leave(self, connections: list[Connection]) -> None:
        """Close connections to a file that was moved, the last one of which sees to its log."""
        if connections and self._file:
            self._file.leave(connections[-1])
        consume(connections, sqlite3.Connection.close)

    def _of_writer(self, loan: Loan) -> Connection:
        if not self._writer:
            self._open_for(loan)
            move(loan.held, self._writer)
        return self._writer[0]

    def _of_reader(self, loan: Loan) -> Connection:
        move(self._at_rest, loan.held)
        if not loan.held:
            self._leases.going_on()  # which closes those that interrupted calls have left
            self._open_for(loan)
        connection: Connection = loan.held[0]
        return connection

    def _open_for(self, loan: Loan) -> None:
        if _lost and not self._in_memory:
            self._lost = _lost.get(os.path.realpath(self._place), "")
            self._check()
        if self._file:
            real = os.path.realpath(self._place)
            for other in [ref() for ref in _all.valuerefs()]:
                if other and other._file and other._file.is_new_at(real, self._file.mode):
                    other.leave_moved()
        self._open(loan.held)

    def _give(self, loan: Loan) -> None:
        if loan.held:
            if loan.held[0].is_ready and len(self._at_rest) < KEPT and not self._closed:
                move(loan.held, self._at_rest)
            consume(loan.held, sqlite3.Connection.close)
        self._leases.give(loan)
        if self._closed:
            self._close_idle()

    def _check(self) -> None:
        if self._closed:
            raise StoreClosed()
        if self._lost:
            raise StoreUnavailable(self._lost)

    # -------------------------------------------------------------- closing

    def close(self, until: float | None = None) -> None:
        """Close the connections: those at work when they are given back, which is waited for until then."""
        self._closed = True
        self._leases.wake()
        self._leases.wait_for_others(closing_deadline() if until is None else until)
        self._close_idle()

    def leave_moved(self) -> None:
        """Close connections that nobody uses and have a file open that was moved, for another store to open anew."""
        for connections, alone in ((self._at_rest, False), (self._writer, True)):
            lease = Lease(sys._getframe(), alone=alone)
            try:
                if self._leases.take(lease, 0.0):  # or somebody writes, who finds out himself
                    self._leave_if_moved(connections, lease.held)
            finally:
                self._leases.give(lease)
        if self._closed:
            self._close_idle()

    def _leave_if_moved(self, connections: list[Connection], taken: list[Connection]) -> None:
        """Close those of some connections whose file was moved; ``taken`` has them meanwhile."""
        while connections:
            move(connections, taken)
            if taken and self._file and self._file.names(taken[-1]):  # so do the others
                move(taken, connections)
                break
        self._leave(taken)

    def _close_idle(self) -> None:
        """Close what nobody uses, nor will from now on: this is closed, or the process is forking."""
        self._leave_if_moved(self._at_rest, [])
        consume(self._at_rest, sqlite3.Connection.close)
        if self._leases.is_free():
            self._leave_if_moved(self._writer, [])
            consume(self._writer, sqlite3.Connection.close)

    # ------------------------------------------------------------------ forks

    def hold(self, until: float) -> None:
        """Wait for those that are lent, and close all; RAM's is copied."""
        if self._leases.wait_for_others(until) and not self._in_memory:
            self._close_idle()

    def start_over(self) -> None:
        """Make ready for the child: its threads and locks are gone. RAM is a copy of its own."""
        loans = self._leases.left_behind()
        opened = [*self._at_rest, *self._writer, *(connection for loan in loans for connection in loan.held)]
        at_work = [loan for loan in loans if not loan.is_mine()]
        if at_work or (opened and not self._in_memory):
            self._lose(opened, forks.is_forking())
        self._end.detach()
        self._renew()  # what this process opens is its own to close
        self._leases.start_over()

    def _lose(self, opened: list[sqlite3.Connection], was_told: bool) -> None:
        how = (
            f"was being used when this process was forked, for longer than the {forks.WAIT:g} s that a fork waits, "
            "or the wait was interrupted"
            if was_told
            else "was open when this process was forked in a way that Python does not know of"
        )
        self._lost = f"{self._place} {how}, so it cannot be used in here: nothing was read or written. {forks.ADVICE}"
        if not self._in_memory:
            _lost[os.path.realpath(self._place)] = self._lost
        _abandon(opened)
        self._at_rest.clear()
        self._writer.clear()


class Loan(Lease):
    """A connection for the block of a ``with``."""

    __slots__ = ("_connections",)

    def __init__(self, connections: Connections, call: FrameType, *, alone: bool) -> None:
        Lease.__init__(self, call, alone=alone)
        self._connections = connections

    def __enter__(self) -> Connection:
        try:
            return self._connections._take(self)
        except BaseException:
            self._connections._give(self)
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connections._give(self)


def _end(
    ended: weakref.ref[Connections],
    owner: OwnerProcess,
    file: NamedFile | None,
    leases: Leases,
    at_rest: list[Connection],
    writer: list[Connection],
) -> None:
    """Close what is open as nobody refers to it any more, or the program ends.

    At the end of a program a daemon thread may be at work still. The connection that it writes with is waited for, and
    never given to anybody again; if it is not to be had, it stays open: to close it under a call crashes the process.
    Where nobody refers to it, no call goes on, and this must wait for nothing: it may come in between anywhere, as in
    a thread that is about to fork.
    """
    if not owner.is_current():
        _abandon([*at_rest, *writer])
        return
    is_ours = ended() is None or leases.take(Lease(sys._getframe()), LAST_CALL)
    for connections in (at_rest, writer) if is_ours else (at_rest,):
        if file and connections:
            file.leave(connections[-1])
        consume(connections, sqlite3.Connection.close)
    if not is_ours:
        _abandon(writer)


def _abandon(connections: Iterable[sqlite3.Connection]) -> None:
    """See that the parent's connections are never closed here: that would fold its log in under its hands.

    What is only kept in a list, as by `keep_inherited`, is destroyed at the very end of the interpreter.
    """
    from ctypes import py_object, pythonapi

    for connection in connections:
        pythonapi.Py_IncRef(py_object(connection))

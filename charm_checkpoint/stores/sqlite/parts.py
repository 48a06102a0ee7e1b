"""A plan of the SQLite store as the parts that it is run in: those outside of any transaction, and the transactions."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Generic, TypeVar

from charm_checkpoint.plan import MakePlan, Plan
from charm_checkpoint.runtime.pacing import current
from charm_checkpoint.stores.sqlite.steps import PAUSE, Sql

T = TypeVar("T")


class Parts(Generic[T]):
    """A plan that is run part by part; ``ended`` has its result when all of it was run."""

    __slots__ = ("_is_closed", "_is_running", "_next", "_open", "_plan", "ended", "make", "pacer", "rests")

    def __init__(self, make: MakePlan[T]) -> None:
        self.make = make
        self.pacer = current()
        self.ended: list[T] = []
        self._plan: Plan[T] | None = None
        self._open: list[Plan[T]] = []
        """The plan until it is closed: whoever takes it from here does that."""
        self._is_running = self._is_closed = False
        self._next: Any = None
        self.rests = False
        """Whether the plan lets others in behind the part that was run last."""

    def rest(self) -> float:
        """Return how many seconds to leave to others before the next part."""
        return self.pacer.due() if self.rests and self.pacer is not None else 0.0

    def is_outside(self) -> bool:
        """Tell whether the next part is outside of any transaction."""
        return isinstance(self._next, Sql) and self._next.outside

    def part(self) -> Plan[None]:
        """Run as many operations as are in one transaction, or outside of any, and note what comes then."""
        self._is_running = True
        try:
            if not self._is_closed:
                yield from self._part()
        finally:
            self._is_running = False
            if self._is_closed:
                self._close()

    def close(self) -> None:
        """Close the plan; if another thread is running a part of it, that is done to its end, and it does this."""
        # Each of the two says what it is about before it looks what the other said: one of them closes, at least.
        self._is_closed = True
        if not self._is_running:
            self._close()

    def _close(self) -> None:
        with suppress(IndexError):
            self._open.pop().close()

    def _part(self) -> Plan[None]:
        try:
            if self._plan is None:
                self._plan = self.make()
                self._open.append(self._plan)
                operation = next(self._plan)
                if isinstance(operation, Sql) and operation.outside:
                    self._next = operation
                    return
            else:
                operation = self._next
            outside = isinstance(operation, Sql) and operation.outside
            while True:
                self.rests = operation is PAUSE
                try:
                    reply = yield operation
                except BaseException as error:
                    operation = self._plan.throw(error)
                else:
                    operation = self._plan.send(reply)
                if self.rests or (isinstance(operation, Sql) and operation.outside != outside):
                    self._next = operation
                    return
        except StopIteration as stop:
            self.rests = False
            self.ended.append(stop.value)

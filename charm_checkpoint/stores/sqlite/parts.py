"""A plan of the SQLite store as the parts that it is run in: those outside of any transaction, and the transactions."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

from charm_checkpoint.plan import MakePlan, Plan
from charm_checkpoint.stores.sqlite.steps import Sql

T = TypeVar("T")


class Parts(Generic[T]):
    """A plan that is run part by part; ``ended`` has its result when all of it was run."""

    __slots__ = ("_next", "_plan", "ended", "make")

    def __init__(self, make: MakePlan[T]) -> None:
        self.make = make
        self.ended: list[T] = []
        self._plan: Plan[T] | None = None
        self._next: Any = None

    def is_outside(self) -> bool:
        """Tell whether the next part is outside of any transaction."""
        return isinstance(self._next, Sql) and self._next.outside

    def part(self) -> Plan[None]:
        """Run as many operations as are in one transaction, or outside of any, and note what comes then."""
        try:
            if self._plan is None:
                self._plan = self.make()
                operation = next(self._plan)
                if isinstance(operation, Sql) and operation.outside:
                    self._next = operation
                    return
            else:
                operation = self._next
            outside = isinstance(operation, Sql) and operation.outside
            while True:
                try:
                    reply = yield operation
                except BaseException as error:
                    operation = self._plan.throw(error)
                else:
                    operation = self._plan.send(reply)
                if isinstance(operation, Sql) and operation.outside != outside:
                    self._next = operation
                    return
        except StopIteration as stop:
            self.ended.append(stop.value)

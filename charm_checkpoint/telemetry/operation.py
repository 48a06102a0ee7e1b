"""One call of a store, as it is watched: what it is called, and what it came to."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import fields, is_dataclass
from functools import partial
from typing import Any, TypeVar

from charm_checkpoint.plan import Compute, MakePlan, Plan
from charm_checkpoint.runtime.clock import monotonic

T = TypeVar("T")

DEPTH = 6
"""So deep are operations and replies looked into for their bytes."""

_NAMES = {
    "page": "list",
    "next_page": "threads",
    "history": "delta_history",
    "copied": "copy_thread",
    "load": "load_messages",
    "save": "save_messages",
    "append": "append_messages",
    "delete": "delete_messages",
    "forget": "forget_messages",
    "fold": "fold_messages",
}
"""What plans are called that have another name than what a user calls."""
_ITEMS = "charm_checkpoint.items."
"""Where plans of long-term memory are, whose names are of their own."""


class Operation:
    """A call under way; ``counts`` are its round trips, bytes, chunks, retries and conflicts, by name.

    A round trip is a request that waits for its reply, as it goes over the wire: with a test of a connection before,
    with those of an attempt that failed and of the schema's first look, but without what connecting takes. Drivers
    that have a wire count theirs, and say so by ``counts_trips``; elsewhere it is a statement or a file operation here.
    Bytes are those that operations and replies hold, before the wire's own encoding; local files do not tell theirs.
    """

    __slots__ = (
        "began", "checkpoint", "counts", "error", "name", "seconds", "system", "thread", "trips_an_operation", "write",
    )  # fmt: skip

    def __init__(self, name: str, system: str, thread: str | None, write: bool) -> None:
        self.name = name
        self.system = system
        self.thread = thread
        self.write = write
        self.checkpoint: tuple[str, str] | None = None
        self.counts: dict[str, int] = {}
        self.error: str | None = None
        self.began = monotonic()
        self.seconds = 0.0
        self.trips_an_operation = 1

    def add(self, counts: dict[str, int]) -> None:
        """Add to what is counted."""
        for name, count in counts.items():
            if count:
                self.counts[name] = self.counts.get(name, 0) + count

    def end(self, error: BaseException | None) -> None:
        """Note that it is over, and the class of the error that ended it: its text may quote a state."""
        self.seconds = monotonic() - self.began
        self.error = None if error is None else type(error).__name__

    def counting(self, make: MakePlan[T], driver: object = None) -> MakePlan[T]:
        """Return what makes the same plan, counted; whatever thread takes its steps, `note` is told of this call."""
        self.trips_an_operation = 0 if getattr(driver, "counts_trips", False) else 1
        return partial(self._counted, make)

    def _counted(self, make: MakePlan[T]) -> Plan[T]:
        plan = make()
        try:
            asked = self._step(plan.send, None)
            while True:
                try:
                    reply = yield asked
                except BaseException as error:
                    asked = self._step(plan.throw, error)
                else:
                    if not isinstance(asked, Compute):
                        self.add({"round_trips": self.trips_an_operation})
                        self.add({"bytes_sent": size_of(asked), "bytes_received": size_of(reply)})
                    asked = self._step(plan.send, reply)
        except StopIteration as stop:
            result: T = stop.value
            return result
        finally:
            plan.close()

    def _step(self, go_on: Any, value: Any) -> Any:
        token = CURRENT.set(self)
        try:
            return go_on(value)
        finally:
            CURRENT.reset(token)


CURRENT: ContextVar[Operation | None] = ContextVar("charm_checkpoint_operation", default=None)
"""The call that is watched here and now."""


def note(checkpoint: tuple[str, str] | None = None, **counts: int) -> None:
    """Tell whoever watches the call at hand which checkpoint (namespace, id) it is about, and what it came to."""
    operation = CURRENT.get()
    if operation is not None:
        operation.checkpoint = checkpoint or operation.checkpoint
        operation.add(counts)


def name_of(make: Any, items: object = None) -> str:
    """Return what a user calls the plan that ``make`` makes; ``items`` is the backend of items, if there is one."""
    while isinstance(make, partial):
        # Messages are looked at before the change that they are for.
        make = make.args[0] if getattr(make.func, "__name__", "") == "_changed" else make.func
    name: str = getattr(make, "__qualname__", type(make).__name__)
    name = name.partition(".<locals>")[0].rpartition(".")[2].strip("_")
    is_of_items = items is not None and getattr(make, "__self__", None) is items
    if is_of_items or (getattr(make, "__module__", None) or "").startswith(_ITEMS):
        return f"items.{name}"
    return _NAMES.get(name, name)


def size_of(value: Any, depth: int = DEPTH) -> int:
    """Return how many bytes of text and binary data an operation or a reply holds."""
    kind = type(value)
    if kind is bytes or kind is str:
        return len(value)
    if depth == 0 or value is None or kind is int or kind is bool or kind is float:
        return 0
    if isinstance(value, (list, tuple)):
        return sum([size_of(member, depth - 1) for member in value])
    if isinstance(value, dict):
        return sum([size_of(key, 1) + size_of(member, depth - 1) for key, member in value.items()])
    if is_dataclass(kind):
        return sum([size_of(getattr(value, member.name), depth - 1) for member in fields(kind)])
    return 0

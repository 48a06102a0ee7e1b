"""Watching the calls of a store: whether anybody does, and telling them."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from charm_checkpoint.printable import CALLS
from charm_checkpoint.runtime.clock import monotonic
from charm_checkpoint.telemetry.operation import CURRENT, Operation, name_of

if TYPE_CHECKING:
    from charm_checkpoint.telemetry.providers import Providers

T = TypeVar("T")

log = logging.getLogger(CALLS)
_log = logging.getLogger("charm_checkpoint")
_failures: set[str] = set()
"""Classes of failures of OpenTelemetry that were told: each is told once."""

REST = 1.0
"""Seconds for which nobody is taken to watch, once that was seen: to ask OpenTelemetry costs half as much as a read."""

_API = "opentelemetry"
_nobody_until = 0.0


def watched(make: Any, system: str, items: object, thread: str | None, write: bool) -> Operation | None:
    """Return a call that is about to be made, if anybody watches: nearly always, nobody does."""
    global _nobody_until
    if not log.isEnabledFor(logging.DEBUG):
        if monotonic() < _nobody_until:
            return None
        if _harmless(_providers) is None:
            _nobody_until = monotonic() + REST
            return None
    return Operation(name_of(make, items), system, thread, write)


@contextmanager
def telling(operation: Operation) -> Iterator[None]:
    """Tell of a call that is made within this, however it ends."""
    before = CURRENT.get()
    providers = _harmless(_providers)
    begun = None if providers is None else _harmless(partial(providers.begin, operation))
    CURRENT.set(operation)
    try:
        with _ending(operation):
            yield
    finally:
        CURRENT.set(before)  # no reset: a coroutine may be closed in another context than it ran in
        if providers is not None:
            _harmless(partial(providers.end, begun, operation))
            _harmless(partial(providers.measure, operation))
        if log.isEnabledFor(logging.DEBUG):
            log.debug("%s", line(operation))


def _harmless(call: Callable[[], T]) -> T | None:
    """Return what a call of OpenTelemetry's comes to, None if it fails: what is watched goes on, and has its result.

    An exporter or a processor of the program's may fail in any way. The text of that may quote what it was given.
    """
    try:
        return call()
    except Exception as error:
        if (failure := type(error).__name__) not in _failures:
            _failures.add(failure)
            _log.warning("OpenTelemetry fails with %s: spans and metrics of calls may be missing", failure)
        return None


@contextmanager
def _ending(operation: Operation) -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        operation.end(error)
        raise
    else:
        operation.end(None)


def line(operation: Operation) -> str:
    """Return a call as a line in the log: names, numbers, no state."""
    said = [operation.name, operation.system]
    if operation.thread is not None:
        said.append(f"thread={operation.thread!r}")
    if operation.checkpoint is not None:
        ns, id = operation.checkpoint
        said += [f"ns={ns!r}"] * bool(ns) + [f"checkpoint={id!r}"]
    said.append(f"ms={operation.seconds * 1000:.2f}")
    said += [f"{name}={count}" for name, count in operation.counts.items()]
    return " ".join([*said, f"error={operation.error}"] if operation.error else said)


def _providers() -> Providers | None:
    """Return what the program has set up to take spans and metrics; None where that is nothing."""
    if f"{_API}.trace" not in sys.modules and f"{_API}.metrics" not in sys.modules:
        return None
    from charm_checkpoint.telemetry.providers import providers  # imports opentelemetry, which the program has

    return providers()

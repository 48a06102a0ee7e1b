"""What a run is known to have read of a thread, so that its writes can be told from those of a run that came late.

A store is told two things with a write that the write itself does not show: under which delete
counter the run began, so that a thread deleted since stays deleted, and whether the run was
sent to an older checkpoint on purpose, so that going on from there is no conflict.

LangGraph's loop reads with the config of its run, a copy that is its own, and writes with
configs built from that same one, as do the subgraphs of the run. So a read leaves word there: a
context (see `contextvars`) would not do, since each step of a stream may run in another. Whoever
drives a saver by hand has no such config; then the context has the word.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

RUNTIME = "__pregel_runtime"
"""Configurable key that a config of a run has, and no other."""
SEEN = "__pregel_charm_seen"
"""Configurable key of ours in it. LangGraph leaves keys that begin so out of metadata, streams and traces."""
REMEMBERED = 32
"""Threads, and older checkpoints of one, that are kept in mind: the latest ones."""


@dataclass(frozen=True, slots=True)
class RunContext:
    """``deletes`` of a thread in a store, and (namespace, id) of the older checkpoints addressed in it.

    ``held`` is what a run keeps from being forgotten as long as it lasts.
    """

    store: int
    thread: str
    deletes: int
    addressed: tuple[tuple[str, str], ...] = ()
    held: list[object] = field(default_factory=list, compare=False, repr=False)


Contents = dict[tuple[int, str], RunContext]
"""What a context has: by a store's number and a thread."""

_context: ContextVar[Contents] = ContextVar("charm_checkpoint_seen", default={})  # noqa: B039 - never mutated


def recall(config: Mapping[str, Any], store: int, thread: str) -> RunContext | None:
    """Return what the run of a config, or else this context, saw of a thread."""
    run = _run(config)
    return _context.get().get((store, thread)) if run is None else _carried(run, store, thread)


def note_read(
    config: Mapping[str, Any],
    store: int,
    thread: str,
    deletes: int,
    *,
    ns: str,
    asked: str | None,
    found: str | None,
    head: str | None,
) -> None:
    """Keep in mind a read: of checkpoint ``asked`` for, or of the head if that is None."""
    run = _run(config)
    before = recall(config, store, thread)
    if run is None and asked is None and before is not None and before.deletes == deletes and not before.addressed:
        return
    if run is not None and before is not None:
        deletes = before.deletes  # what a run reads later, or a subgraph of it, does not begin it anew
    addressed = before.addressed if before is not None and before.deletes == deletes else ()
    if asked is None:
        addressed = tuple(key for key in addressed if key != (ns, found))
    elif found is not None and found != head and (ns, found) not in addressed:
        addressed = (*addressed, (ns, found))[-REMEMBERED:]
    now = RunContext(store, thread, deletes, addressed, [] if before is None else before.held)
    if run is not None:
        run[SEEN] = now
    elif now != before:
        _keep((store, thread), now)


def hold(config: Mapping[str, Any], store: int, thread: str, get: Callable[[str], object]) -> None:
    """Keep what is got of a thread while the run of a config lasts; what it held before is let go."""
    run = _run(config)
    seen = None if run is None else _carried(run, store, thread)
    if seen is not None:
        seen.held[:] = [get(thread)]


def forget(store: int, thread: str) -> None:
    """Forget a thread: what this context does next starts afresh."""
    if (store, thread) in _context.get():
        _context.set({key: seen for key, seen in _context.get().items() if key != (store, thread)})


def is_run(config: Mapping[str, Any]) -> bool:
    """Tell whether a config is that of a run, which goes on from what it reads."""
    return _run(config) is not None


def _run(config: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return what a run's own config is configured with, None for any other config."""
    configurable = config.get("configurable")
    return configurable if isinstance(configurable, dict) and RUNTIME in configurable else None


def _carried(run: Mapping[str, Any], store: int, thread: str) -> RunContext | None:
    seen = run.get(SEEN)
    if isinstance(seen, RunContext) and (seen.store, seen.thread) == (store, thread):
        return seen
    return None


def _keep(key: tuple[int, str], seen: RunContext) -> None:
    others = [(other, kept) for other, kept in _context.get().items() if other != key]
    _context.set(dict([*others[1 - REMEMBERED :], (key, seen)]))

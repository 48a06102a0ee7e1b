"""What the current run saw of a thread when it began.

A store is told two things with a write that the write itself does not show: under which delete
counter the run began, so that a thread deleted since stays deleted, and whether the run was
sent to an older checkpoint on purpose, so that going on from there is no conflict. LangGraph
reads before it writes, and hands its context (see `contextvars`) to the threads and tasks that
write; so that is where a read leaves word.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import NamedTuple

REMEMBERED = 32
"""Threads, and older checkpoints of one, that a context keeps in mind: the latest ones."""


class Seen(NamedTuple):
    """``deletes`` of a thread, and (namespace, id) of the older checkpoints addressed in it."""

    deletes: int
    addressed: tuple[tuple[str, str], ...] = ()


_UNREMARKABLE = Seen(0)

Key = tuple[int, str]
"""A store's number and a thread."""

_seen: ContextVar[dict[Key, Seen]] = ContextVar("charm_checkpoint_seen", default={})  # noqa: B039 - never mutated


def recall(store: int, thread: str) -> Seen | None:
    """Return what this context saw of a thread last."""
    return _seen.get().get((store, thread))


def note_read(
    store: int, thread: str, deletes: int, *, ns: str, asked: str | None, found: str | None, head: str | None
) -> None:
    """Keep in mind a read: of checkpoint ``asked`` for, or of the head if that is None."""
    before = _seen.get().get((store, thread))
    if asked is None and before == _UNREMARKABLE and deletes == 0:
        return
    addressed = before.addressed if before is not None and before.deletes == deletes else ()
    if asked is None:
        addressed = tuple(place for place in addressed if place != (ns, found))
    elif found is not None and found != head and (ns, found) not in addressed:
        addressed = (*addressed, (ns, found))[-REMEMBERED:]
    now = Seen(deletes, addressed)
    if now != before:
        _keep((store, thread), now)


def forget(store: int, thread: str) -> None:
    """Forget a thread: what this context does next starts afresh."""
    if (store, thread) in _seen.get():
        _seen.set({key: seen for key, seen in _seen.get().items() if key != (store, thread)})


def _keep(key: Key, seen: Seen) -> None:
    others = [(other, kept) for other, kept in _seen.get().items() if other != key]
    _seen.set(dict([*others[1 - REMEMBERED :], (key, seen)]))

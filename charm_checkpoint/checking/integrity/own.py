"""What a store can tell of itself, beyond what the contract asks of every store."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any, NamedTuple

from charm_checkpoint.checking.integrity.report import IntegrityFinding
from charm_checkpoint.session import Session
from charm_checkpoint.store import Store


class Count(NamedTuple):
    """What a thread holds: its checkpoints, the bytes of these, their writes and chunks, as of its ``seq``."""

    thread: str
    checkpoints: int
    size: int
    seq: int


def examiner(store: Store) -> Any:
    """Return what knows a store from inside, None where nothing does.

    A driver names it, as in ``examiner = "charm_checkpoint.checking.stores.sqlite:SqliteExaminer"``; it is imported
    when it is needed, and made with the store. All of its methods are optional:

    - ``own_checks(repair)``, a session that returns findings: what only the store itself can see;
    - ``recount(count)``, a session that notes on a thread's record what a `Count` says, if the thread is still as it
      was when that was counted, and tells whether it did;
    - ``relink(thread)``, a session that makes the last commit of each namespace its head, where `Backend.remove` of
      nothing does not do that; it is a change of the thread;
    - those of `charm_checkpoint.checking.doctor`.
    """
    name = getattr(store.driver, "examiner", None)
    if name is None:
        return None
    module, _, made = name.partition(":")
    return getattr(import_module(module), made)(store)


def own_checks(store: Store, repair: bool) -> Session[list[IntegrityFinding]]:
    """Return what a store finds wrong with itself."""
    found: Sequence[IntegrityFinding] = ()
    checks = getattr(examiner(store), "own_checks", None)
    if checks is not None:
        found = yield from checks(repair)
    return list(found)


def recounts(store: Store) -> bool:
    """Tell whether a store can count anew what a thread holds."""
    return hasattr(examiner(store), "recount")


def recount(store: Store, count: Count) -> Session[bool]:
    """Have a thread's record say how much it holds; tell whether that was done."""
    done: bool = yield from examiner(store).recount(count)
    return done


def relinks(store: Store) -> bool:
    """Tell whether a store has a way of its own to make the last commit of a namespace its head."""
    return hasattr(examiner(store), "relink")


def relink(store: Store, thread: str) -> Session[None]:
    """Make the last commit of each of a thread's namespaces its head, in the store's own way."""
    yield from examiner(store).relink(thread)

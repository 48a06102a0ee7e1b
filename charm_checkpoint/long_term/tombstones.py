"""Tombstones: what is kept for a while of memories that were forgotten."""

from __future__ import annotations

from typing import Final, NamedTuple

from charm_checkpoint.errors import ItemConflict
from charm_checkpoint.items.flow import Flow
from charm_checkpoint.items.results import FoundItem, StoredItem
from charm_checkpoint.long_term.records import Value
from charm_checkpoint.long_term.scope import Scope
from charm_checkpoint.long_term.steps import call, collect

SIDE: Final = "tombstones"

_DAY_MINUTES: Final = 24 * 60


def bury(scope: Scope, value: Value, now: int, days: float) -> Flow[None]:
    """Keep what a memory was for some days: `tombstone` returns it."""
    yield call(
        scope.store,
        "put",
        scope.side(SIDE),
        value["title"],
        {"memory": value, "forgotten": now},
        False,
        ttl=days * _DAY_MINUTES,
    )


class Stone(NamedTuple):
    """What is kept of a memory that was forgotten, and when that was; ``revision`` tells it from a later one."""

    memory: Value
    forgotten: int
    revision: int


def tombstone(scope: Scope, title: str) -> Flow[Stone | None]:
    """Return what is kept of a memory that was forgotten, None if there is nothing."""
    item: StoredItem | None = yield call(scope.store, "get", scope.side(SIDE), title, refresh_ttl=False)
    return None if item is None else stone_of(item)


def tombstones(scope: Scope) -> Flow[list[Stone]]:
    """Return what is kept of all memories that were forgotten."""
    found: list[FoundItem] = yield collect(scope.store, scope.side(SIDE))
    return list(map(stone_of, found))


def stone_of(item: StoredItem | FoundItem) -> Stone:
    """Return what an item keeps of a memory that was forgotten."""
    return Stone(item.value["memory"], item.value["forgotten"], item.revision)


def lift(scope: Scope, title: str, seen: Stone | None) -> Flow[None]:
    """Keep nothing any more of a memory that was forgotten, as it was seen before one was written in its place.

    A later tombstone stays: it is of what was written, which somebody else has forgotten meanwhile.
    """
    if seen is None:
        return
    try:
        yield call(scope.store, "delete", scope.side(SIDE), title, if_revision=seen.revision)
    except ItemConflict:
        pass  # it is another one, or was lifted by somebody else

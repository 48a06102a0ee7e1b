"""What a ``DeltaChannel`` needs of the past, and so what a prune must keep; pure but for one plan.

A delta channel's value is stored now and then only; in between, it is rebuilt from the writes
on the way up to the nearest ancestor that has it. Such a channel has a version in a checkpoint
but no value, and is named in the metadata's ``counters_since_delta_snapshot`` (LangGraph 1.2).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping

from charm_checkpoint.contract import Backend, CheckpointRow, Found
from charm_checkpoint.plan import Plan
from charm_checkpoint.records import Record

COUNTERS = "counters_since_delta_snapshot"
BATCH = 64
"""Ancestors fetched at a time."""

Place = tuple[str, str]
"""A namespace and a checkpoint's id."""


def walk(backend: Backend, thread: str, ns: str, id: str | None, visit: Callable[[Found], bool]) -> Plan[None]:
    """Visit the ancestors of a checkpoint (the head if ``id`` is None), nearest first, while ``visit`` says so."""
    target = yield from backend.find(thread, ns, id)
    step = target.row.parent if target.row else None
    seen: set[str] = set()
    while step is not None and step not in seen:
        line = yield from backend.ancestors(thread, ns, step, BATCH)
        step = None
        for found in line:
            if found.row is None or found.row.id in seen:
                return
            seen.add(found.row.id)
            if not visit(found):
                return
            step = found.row.parent


def doomed_by_prune(rows: Iterable[CheckpointRow], decode: Callable[[CheckpointRow], Record]) -> set[Place]:
    """Return what keeping only the latest of each namespace removes.

    Kept as well: what delta channels of the kept still need. Gone as well: namespaces of
    tasks whose root checkpoint goes.
    """
    by_place = {(row.ns, row.id): row for row in rows}
    heads: dict[str, CheckpointRow] = {}
    for row in by_place.values():
        if row.ns not in heads or heads[row.ns].seq < row.seq:
            heads[row.ns] = row
    kept = {(row.ns, row.id) for row in heads.values()}
    root = heads.get("")
    if root is not None:
        kept -= {
            (ns, row.id) for ns, row in heads.items() if _is_task(ns) and _root_of(decode(row)) not in (None, root.id)
        }
    return set(by_place) - with_delta_history(kept, by_place, decode)


def with_delta_history(
    kept: Collection[Place], by_place: Mapping[Place, CheckpointRow], decode: Callable[[CheckpointRow], Record]
) -> set[Place]:
    """Add to ``kept`` the ancestors that its delta channels are rebuilt from."""
    result = set(kept)
    for place in kept:
        row = by_place[place]
        missing = _delta_channels(decode(row))
        seen = {place}
        while missing and row.parent is not None and (row.ns, row.parent) in by_place:
            step = (row.ns, row.parent)
            if step in seen:
                break
            seen.add(step)
            result.add(step)
            row = by_place[step]
            missing -= set(decode(row).places)
    return result


def _delta_channels(record: Record) -> set[str]:
    return set(record.metadata.get(COUNTERS) or ()) - set(record.places)


def _is_task(ns: str) -> bool:
    """Tell whether a namespace belongs to one task: LangGraph then puts its id after a colon."""
    return ":" in ns


def _root_of(record: Record) -> str | None:
    parents = record.metadata.get("parents")
    return parents.get("") if isinstance(parents, dict) else None

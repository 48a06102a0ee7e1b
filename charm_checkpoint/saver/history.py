"""What a ``DeltaChannel`` needs of the past, and so what a prune must keep; pure but for one plan.

A delta channel's value is stored now and then only; in between, it is rebuilt from the writes
on the way up to the nearest ancestor that has it. Such a channel has a version in a checkpoint
but no value, and is named in the metadata's ``counters_since_delta_snapshot`` (LangGraph 1.2).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial
from typing import TypeAlias

from charm_checkpoint.contract import Backend, CheckpointRow, StoredCheckpoint
from charm_checkpoint.plan import Plan
from charm_checkpoint.saver.records import Record
from charm_checkpoint.values.offload import decoding
from charm_checkpoint.values.sealing import unpacked_size

COUNTERS = "counters_since_delta_snapshot"
BATCH = 64
"""Ancestors fetched at a time."""

CheckpointKey = tuple[str, str]
"""A namespace and a checkpoint's id."""

Decode: TypeAlias = Callable[[CheckpointRow], "Record | None"]
"""Decodes a checkpoint without its values; None if it is damaged, and may need all that was before it."""


def walk(
    backend: Backend, thread: str, ns: str, id: str | None, visit: Callable[[StoredCheckpoint], bool]
) -> Plan[None]:
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
            if not (yield from decoding(partial(visit, found), sum(map(unpacked_size, found.writes)))):
                return
            step = found.row.parent


def prunable(rows: Iterable[CheckpointRow], decode: Decode) -> set[CheckpointKey]:
    """Return what keeping only the latest of each namespace removes.

    Kept as well: what delta channels of the kept still need. Gone as well: namespaces of
    tasks whose root checkpoint goes.
    """
    by_key = {(row.ns, row.id): row for row in rows}
    heads: dict[str, CheckpointRow] = {}
    for row in by_key.values():
        if row.ns not in heads or heads[row.ns].seq < row.seq:
            heads[row.ns] = row
    kept = {(row.ns, row.id) for row in heads.values()}
    root = heads.get("")
    if root is not None:
        kept -= {
            (ns, row.id) for ns, row in heads.items() if _is_task(ns) and _root_of(decode(row)) not in (None, root.id)
        }
    return set(by_key) - with_delta_history(kept, by_key, decode)


def with_delta_history(
    kept: Collection[CheckpointKey], by_key: Mapping[CheckpointKey, CheckpointRow], decode: Decode
) -> set[CheckpointKey]:
    """Add to ``kept`` the ancestors that its delta channels are rebuilt from."""
    result = set(kept)
    for key in kept:
        row = by_key[key]
        record = decode(row)
        missing = None if record is None else _delta_channels(record)
        seen = {key}
        while (missing is None or missing) and row.parent is not None and (row.ns, row.parent) in by_key:
            step = (row.ns, row.parent)
            if step in seen:
                break
            seen.add(step)
            result.add(step)
            row = by_key[step]
            record = decode(row) if missing else None
            if missing and record is not None:
                missing -= set(record.locations)
    return result


def _delta_channels(record: Record) -> set[str] | None:
    """Return the delta channels that a checkpoint has no value of, None where what names them is damaged."""
    counters = record.metadata.get(COUNTERS)
    if counters is None:
        return set()
    if type(counters) not in _NAMES or not _TEXT.issuperset(map(type, counters)):
        return None
    return set(counters) - set(record.locations)


_NAMES = (dict, list, tuple)
_TEXT = frozenset({str})


def _is_task(ns: str) -> bool:
    """Tell whether a namespace belongs to one task: LangGraph then puts its id after a colon."""
    return ":" in ns


def _root_of(record: Record | None) -> str | None:
    parents = None if record is None else record.metadata.get("parents")
    root = parents.get("") if type(parents) is dict else None
    return root if type(root) is str else None

"""What a ``DeltaChannel`` needs of the past, and so what a prune must keep; pure but for one plan.

A delta channel's value is stored now and then only; in between, it is rebuilt from the writes
on the way up to the nearest ancestor that has it. Such a channel has a version in a checkpoint
but no value, and is named in the metadata's ``counters_since_delta_snapshot`` (LangGraph 1.2).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime, timezone
from functools import partial
from typing import Any, TypeAlias

from charm_checkpoint.contract import Backend, CheckpointRow, StoredCheckpoint, ThreadState
from charm_checkpoint.plan import Plan
from charm_checkpoint.saver.choosing import Candidate, Rules, choose, is_task
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
    """Visit a checkpoint (the head if ``id`` is None), then its ancestors, nearest first, while ``visit`` says so."""
    target = yield from backend.find(thread, ns, id)
    if target.row is None or not visit(target):
        return
    step = target.row.parent
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


def with_writes(
    backend: Backend, rows: Sequence[CheckpointRow], parents: bool = False
) -> Plan[dict[tuple[str, str, str], StoredCheckpoint]]:
    """Return checkpoints with their pending writes, by thread, namespace and id, and their parents too if wanted.

    They are read along the lines of their parents, which brings no chunk, as a page with writes may.
    """
    found: dict[tuple[str, str, str], StoredCheckpoint] = {}
    left = Counter((row.thread, row.ns) for row in rows)
    for row in rows:
        place = row.thread, row.ns
        if (*place, row.id) in found:
            continue
        line = yield from backend.ancestors(*place, row.id, left[place] + parents)
        for item in line:
            assert item.row is not None
            key = (*place, item.row.id)
            if key not in found:
                found[key] = item
                left[place] = max(left[place] - 1, 1)
        found.setdefault((*place, row.id), StoredCheckpoint(ThreadState(), None, row))
    return found


def prunable(rows: Iterable[CheckpointRow], decode: Decode) -> set[CheckpointKey]:
    """Return what keeping only the latest of each namespace removes.

    Kept as well: what delta channels of the kept still need, with the last of its tasks. Gone as well: namespaces
    of tasks whose root checkpoint goes.
    """
    by_key = {(row.ns, row.id): row for row in rows}
    outlines = [_outline(row, decode) for row in by_key.values()]
    choosing = partial(choose, outlines, Rules(last=1, branches=False, strict=True))
    kept, history = choosing().kept, set[CheckpointKey]()
    while True:
        more = with_delta_history(kept - history, by_key, decode) - kept
        if not more:
            return set(by_key) - kept
        history |= more
        kept = choosing(history=history).kept


def with_their_tasks(
    roots: Collection[CheckpointKey], by_key: Mapping[CheckpointKey, CheckpointRow], decode: Decode
) -> set[CheckpointKey]:
    """Return all checkpoints of tasks that ran under some of the root graph's."""
    ids = {id for ns, id in roots if ns == ""}
    if not ids:
        return set()
    return {key for key, row in by_key.items() if is_task(row.ns) and root_of(decode(row)) in ids}


def _outline(row: CheckpointRow, decode: Decode) -> Candidate:
    return Candidate(row.ns, row.id, row.parent, row.seq, root=root_of(decode(row)) if is_task(row.ns) else None)


def with_delta_history(
    kept: Collection[CheckpointKey], by_key: Mapping[CheckpointKey, CheckpointRow], decode: Decode
) -> set[CheckpointKey]:
    """Add to ``kept`` the ancestors that its delta channels are rebuilt from."""
    result = set(kept)
    for key in kept:
        row = by_key[key]
        record = decode(row)
        missing = None if record is None else delta_channels(record)
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


def delta_channels(record: Record) -> set[str] | None:
    """Return the delta channels that a checkpoint has no value of, None where what names them is damaged."""
    counters = record.metadata.get(COUNTERS)
    if counters is None:
        return set()
    if type(counters) not in _NAMES or not _TEXT.issuperset(map(type, counters)):
        return None
    return set(counters) - set(record.locations)


_NAMES = (dict, list, tuple)
_TEXT = frozenset({str})


def root_of(record: Record | None) -> str | None:
    """Return the root graph's checkpoint under which a subgraph's was made, None if it does not say."""
    return None if record is None else parents_of(record.metadata).get("")


def parents_of(metadata: Mapping[str, Any]) -> dict[str, str]:
    """Return the checkpoints, by namespace, that one was made under."""
    parents = metadata.get("parents")
    if type(parents) is not dict:
        return {}
    return {ns: id for ns, id in parents.items() if type(ns) is type(id) is str}


def made_at(text: Any) -> datetime | None:
    """Return the time that a checkpoint says it was made at, in UTC; None if that is none."""
    try:
        time = datetime.fromisoformat(text[:-1] + "+00:00" if text.endswith("Z") else text)
        return (time if time.tzinfo else time.replace(tzinfo=timezone.utc)).astimezone(timezone.utc)
    except (AttributeError, TypeError, ValueError, OverflowError):
        return None

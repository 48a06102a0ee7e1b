"""ZeroClaw's own memories, taken over: with their categories, sessions, times and importance."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from charm_checkpoint.hosts.zeroclaw.opening import SCOPE
from charm_checkpoint.hosts.zeroclaw.reading import ZeroClawRow, read_zeroclaw
from charm_checkpoint.items.flow import Flow, off_the_loop
from charm_checkpoint.items.results import stamp_of
from charm_checkpoint.long_term import steps
from charm_checkpoint.long_term.memories import LongTermMemory
from charm_checkpoint.long_term.records import IMPORTED, Value, new_value
from charm_checkpoint.long_term.scope import Scope
from charm_checkpoint.long_term.suspicion import held_for, suspicions

Outcome = Literal["imported", "same", "kept", "empty"]

_OWN = ("title", "kind", "body", "tags", "importance", "category", "session", "created", "updated")
"""What makes two memories the same."""


@dataclass(frozen=True)
class ZeroClawImport:
    """What became of the keys: ``imported``, the ``same`` as before, ``kept`` as they were here, or ``empty`` there."""

    imported: tuple[str, ...] = ()
    same: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    empty: tuple[str, ...] = ()
    dry_run: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in vars(self).items()}


def import_zeroclaw(
    memories: LongTermMemory,
    path: str | os.PathLike[str],
    *,
    scope: str = SCOPE,
    overwrite: bool = False,
    trust: bool = False,
    dry_run: bool = False,
) -> ZeroClawImport:
    """Take over the memories of ZeroClaw's that are in a ``brain.db``, in Markdown files, or in the folder of either.

    A key becomes the title of a fact, which keeps its category, session, importance and both its times; what a later
    memory had superseded is archived. A title that is there with something else stays as it is, but with ``overwrite``.
    With ``trust`` none needs a review, unless it looks like an attack. With ``dry_run`` nothing is written.
    """
    return steps.run(_import(memories, path, memories.scope(scope), overwrite, trust, dry_run))


async def aimport_zeroclaw(
    memories: LongTermMemory,
    path: str | os.PathLike[str],
    *,
    scope: str = SCOPE,
    overwrite: bool = False,
    trust: bool = False,
    dry_run: bool = False,
) -> ZeroClawImport:
    """Take over the memories of ZeroClaw's; see `import_zeroclaw`."""
    return await steps.arun(_import(memories, path, memories.scope(scope), overwrite, trust, dry_run))


def _import(
    memories: LongTermMemory,
    path: str | os.PathLike[str],
    scope: Scope,
    overwrite: bool,
    trust: bool,
    dry_run: bool,
) -> Flow[ZeroClawImport]:
    rows: list[ZeroClawRow] = yield off_the_loop(partial(read_zeroclaw, path))
    found: dict[Outcome, list[str]] = {"imported": [], "same": [], "kept": [], "empty": []}
    for row in rows:
        if not row.key.strip() or not row.content.strip():
            found["empty"].append(row.key)
            continue
        value = _value(row, trust, memories.settings.on_suspicious != "store")
        found[(yield from _put(scope, value, overwrite, dry_run))].append(row.key)
    return ZeroClawImport(**{name: tuple(keys) for name, keys in found.items()}, dry_run=dry_run)


def _put(scope: Scope, value: Value, overwrite: bool, dry_run: bool) -> Flow[Outcome]:
    outcome: list[Outcome] = []

    def change(old: Value | None) -> Value | None:
        if old is None:
            outcome[:] = ["imported"]
        elif all(old[name] == value[name] for name in _OWN):
            outcome[:] = ["same"]
        else:
            outcome[:] = ["imported" if overwrite else "kept"]
        return value if outcome == ["imported"] and not dry_run else None

    if dry_run:
        change((yield from scope.get(value["title"])))
    else:
        yield from scope.change(value["title"], change)
    return outcome[0]


def _value(row: ZeroClawRow, trust: bool, holds: bool) -> Value:
    value = new_value(row.key, "fact", row.content, IMPORTED, stamp_of(row.created))
    reasons = suspicions(row.key, row.content, row.tags) if holds else ()
    value.update(
        updated=stamp_of(row.updated),
        tags=list(row.tags),
        category=row.category,
        session=row.session,
        importance=row.importance,
        review=bool(reasons) or not trust,
        reason=held_for(reasons),
    )
    if row.superseded:
        value.update(status="archived", archived=stamp_of(row.updated))
    return value

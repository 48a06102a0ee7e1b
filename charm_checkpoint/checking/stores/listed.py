"""Rows of threads that a listing shows and no read finds, and batches that are missing between others."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

from charm_checkpoint.checking.integrity.report import IntegrityFinding
from charm_checkpoint.errors import StoreCorrupt
from charm_checkpoint.session import Session
from charm_checkpoint.stores.shared.names import CHECKPOINTS, MESSAGES, bytes_text
from charm_checkpoint.values import sealing

PAGE = 2000
"""Rows of threads that are read at a time."""

ROWS = (
    "SELECT key, identity, tenant, kind, name FROM {schema}thread WHERE key > {start} AND name IS NOT NULL "
    f"ORDER BY key LIMIT {PAGE}"
)
"""Threads, and message lists, from a key on."""
# They are numbered on from the last one, and the first ones are taken into the list: no gap comes of that.
GAPS = (
    "SELECT t.name, max(b.number) - min(b.number) + 1 - count(*) FROM {schema}message_batch b "
    "JOIN {schema}thread t ON t.key = b.thread GROUP BY t.key, t.name "
    "HAVING max(b.number) - min(b.number) + 1 <> count(*) ORDER BY t.name LIMIT 1000"
)
"""Threads with batches of messages between whose numbers some are missing."""

_KINDS = (CHECKPOINTS, MESSAGES)

Read: TypeAlias = Callable[[str], Session[Sequence[Sequence[Any]]]]
"""Reads what a statement selects."""


def look_at_listed(read: Read, schema: str, advice: str) -> Session[list[IntegrityFinding]]:
    """Return the rows of threads that are not found by the names they bear, and lists that lack a batch."""
    found: list[IntegrityFinding] = []
    start = -(1 << 63)
    while True:
        rows = yield from read(ROWS.format(schema=schema, start=start))
        found += _misnamed(rows, advice)
        if len(rows) < PAGE:
            break
        start = rows[-1][0]
    gaps = yield from read(GAPS.format(schema=schema))
    return found + [_gap(bytes(name), int(count), advice) for name, count in gaps if name is not None]


def _misnamed(rows: Sequence[Sequence[Any]], advice: str) -> Iterator[IntegrityFinding]:
    for _, identity, tenant, kind, name in rows:
        if kind not in _KINDS or sealing.identity(bytes(tenant), kind, bytes(name)) != bytes(identity):
            yield IntegrityFinding(
                "thread", "its row is not found by the name it bears: what it is found by is damaged, or its name, "
                "its tenant or its kind. What it holds is there, and no read shows it under this name.",
                thread=_text(bytes(name)), advice=advice,
            )  # fmt: skip


def _gap(name: bytes, count: int, advice: str) -> IntegrityFinding:
    said = "a batch" if count == 1 else f"{count:,} batches"
    message = f"{said} behind its message list is lost, as the numbers of the others tell."
    return IntegrityFinding("messages", message, thread=_text(name), advice=advice)


def _text(name: bytes) -> str | None:
    try:
        return bytes_text(name)
    except StoreCorrupt:
        return None

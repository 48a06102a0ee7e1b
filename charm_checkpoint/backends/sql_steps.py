"""The steps that the plans of the SQL stores are made of, over one operation: a statement."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from charm_checkpoint.backends.marking import unreached
from charm_checkpoint.backends.names import CHECKPOINTS, MESSAGES, identity, text_bytes
from charm_checkpoint.contract import Chunk, ThreadState
from charm_checkpoint.plan import Plan

BATCH = 250
"""Parameters in one statement, well below the 999 that old SQLite builds allow."""


class Sql(NamedTuple):
    """A statement; the reply is its rows. ``many`` runs it once for each of ``params``."""

    text: str
    params: Sequence[Any] = ()
    many: bool = False


class Place(NamedTuple):
    """What one query tells of a thread and one of its namespaces; keys are None if missing."""

    thread: int | None
    state: ThreadState
    head: int | None
    head_key: int | None
    head_id: bytes | None


_PLACE = """
    SELECT t.key, t.deletes, t.sweeps, t.seq, h.key, h.checkpoint, c.id
    FROM thread t
    LEFT JOIN head h ON h.thread = t.key AND h.ns = ?
    LEFT JOIN checkpoint c ON c.key = h.checkpoint
    WHERE t.identity = ?"""


class SqlSteps:
    """What plans share: finding, making and touching threads, chunks in and out."""

    def __init__(self, tenant: str = "") -> None:
        self._tenant = text_bytes(tenant)

    def chunks(self, thread: str, addresses: Collection[bytes], messages: bool = False) -> Plan[Mapping[bytes, Chunk]]:
        """Return chunks; see `Backend.chunks`."""
        key = yield from self._thread(thread, MESSAGES if messages else CHECKPOINTS)
        wanted = list(addresses)
        found: dict[bytes, Chunk] = {}
        for start in range(0, len(wanted), BATCH):
            batch = wanted[start : start + BATCH]
            # One of a few statement texts, so that SQLite's statement cache knows them all.
            size = next(size for size in (1, 4, 16, 64, BATCH) if size >= len(batch))
            batch += [batch[-1]] * (size - len(batch))
            marks = ", ".join("?" * size)
            rows = yield Sql(
                f"SELECT address, refs, data FROM chunk WHERE thread = ? AND address IN ({marks})", (key, *batch)
            )
            found.update((name, Chunk(name, refs, data)) for name, refs, data in rows)
        return found

    def _sweep(self, thread: int, roots: Sequence[bytes]) -> Plan[None]:
        rows = yield Sql("SELECT address, refs FROM chunk WHERE thread = ?", (thread,))
        gone = unreached(dict(rows), roots)
        yield Sql("DELETE FROM chunk WHERE thread = ? AND address = ?", [(thread, name) for name in gone], many=True)

    def _identity(self, thread: str, kind: int) -> bytes:
        return identity(self._tenant, kind, thread)

    def _place(self, thread: str, ns: str) -> Plan[Place]:
        rows = yield Sql(_PLACE, (text_bytes(ns), self._identity(thread, CHECKPOINTS)))
        if not rows:
            return Place(None, ThreadState(), None, None, None)
        key, deletes, sweeps, seq, head, head_key, head_id = rows[0]
        return Place(key, ThreadState(deletes, sweeps, seq), head, head_key, head_id)

    def _thread(self, thread: str, kind: int) -> Plan[int | None]:
        rows = yield Sql("SELECT key FROM thread WHERE identity = ?", (self._identity(thread, kind),))
        return rows[0][0] if rows else None

    def _add_thread(self, thread: str, kind: int) -> Plan[int]:
        [[key]] = yield Sql(
            "INSERT INTO thread (identity, tenant, kind, name) VALUES (?, ?, ?, ?) RETURNING key",
            (self._identity(thread, kind), self._tenant, kind, text_bytes(thread)),
        )
        return int(key)

    def _room(self, place: Place, thread: str, ns: str) -> Plan[tuple[int, int]]:
        """Return the keys of the thread and namespace, made if they are missing."""
        key, head = place.thread, place.head
        if key is None:
            key = yield from self._add_thread(thread, CHECKPOINTS)
        if head is None:
            yield Sql("UPDATE thread SET name = ? WHERE key = ? AND name IS NULL", (text_bytes(thread), key))
            [[head]] = yield Sql("INSERT INTO head (thread, ns) VALUES (?, ?) RETURNING key", (key, text_bytes(ns)))
        return key, int(head)

    def _key(self, place: Place, id: bytes | None) -> Plan[int | None]:
        if place.head is None or id is None:
            return None
        rows = yield Sql("SELECT key FROM checkpoint WHERE head = ? AND id = ?", (place.head, id))
        return rows[0][0] if rows else None

    def _deleted(self, place: Place, seen: int | None, id: bytes | None) -> Plan[bool]:
        if seen is not None:
            return seen != place.state.deletes
        if not place.state.deletes or id is None:
            return False
        return (yield from self._key(place, id)) is None

    def _touch(self, thread: int, old: ThreadState, sweeps: int = 0, deletes: int = 0) -> Plan[ThreadState]:
        new = ThreadState(old.deletes + deletes, old.sweeps + sweeps, old.seq + 1)
        yield Sql(
            "UPDATE thread SET seq = ?, sweeps = ?, deletes = ?, touched_at = ? WHERE key = ?",
            (new.seq, new.sweeps, new.deletes, int(time.time()), thread),
        )
        return new

    def _add_chunks(self, thread: int, chunks: Sequence[Chunk]) -> Plan[None]:
        if chunks:
            yield Sql(
                "INSERT OR IGNORE INTO chunk (thread, address, refs, data) VALUES (?, ?, ?, ?)",
                [(thread, chunk.address, chunk.refs, chunk.data) for chunk in chunks],
                many=True,
            )

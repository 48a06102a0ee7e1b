"""The steps that the plans of the SQL stores are made of, over one operation: a statement."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from charm_checkpoint.backends.marking import unreached
from charm_checkpoint.backends.names import CHECKPOINTS, MESSAGES, identity, text_bytes
from charm_checkpoint.contract import Chunk, ThreadState
from charm_checkpoint.plan import Plan

BATCH = 250
"""Parameters in one statement, well below the 999 that old SQLite builds allow."""

SPARE = 64
"""Free pages that a file keeps when room is given back: a quarter of a megabyte."""


class Sql(NamedTuple):
    """A statement; the reply is its rows. ``many`` runs it once for each of ``params``.

    ``alone`` marks a read after which, as a rule, no other comes: it is run without a
    transaction, and in one if another does come.
    """

    text: str
    params: Sequence[Any] = ()
    many: bool = False
    alone: bool = False


class Place(NamedTuple):
    """What one query tells of a thread, one of its namespaces and a checkpoint; None if missing.

    ``stored`` is the key of the checkpoint that was asked for, ``head_id`` the head's id.
    """

    thread: int | None
    state: ThreadState
    space: int | None = None
    head_id: bytes | None = None
    stored: int | None = None


HEAD = "(SELECT max(key) FROM checkpoint WHERE space = s.key)"
"""The key of a namespace's head."""

_PLACE = f"""
    SELECT t.key, t.deletes, t.sweeps, t.seq, s.key,
        (SELECT id FROM checkpoint WHERE key = {HEAD}),
        (SELECT key FROM checkpoint WHERE space = s.key AND id = ?)
    FROM thread t LEFT JOIN space s ON s.thread = t.key AND s.ns = ?
    WHERE t.identity = ?"""

_identity = lru_cache(1024)(identity)


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

    def _give_back(self) -> Plan[None]:
        """Give room that was freed back to the disk, but for a little that the next writes will need."""
        [[free]] = yield Sql("PRAGMA freelist_count")
        for _ in range(free - SPARE):
            # Whatever number it is given, it goes on by a page only as its rows are fetched; and Python, which
            # sees that they have no columns, fetches one.
            yield Sql("PRAGMA incremental_vacuum(1)")

    def _identity(self, thread: str, kind: int) -> bytes:
        return _identity(self._tenant, kind, thread)

    def _place(self, thread: str, ns: str, id: bytes | None = None) -> Plan[Place]:
        rows = yield Sql(_PLACE, (id, text_bytes(ns), self._identity(thread, CHECKPOINTS)))
        if not rows:
            return Place(None, ThreadState())
        key, deletes, sweeps, seq, *rest = rows[0]
        return Place(key, ThreadState(deletes, sweeps, seq), *rest)

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
        key, space = place.thread, place.space
        if key is None:
            key = yield from self._add_thread(thread, CHECKPOINTS)
        if space is None:
            yield Sql("UPDATE thread SET name = ? WHERE key = ? AND name IS NULL", (text_bytes(thread), key))
            [[space]] = yield Sql("INSERT INTO space (thread, ns) VALUES (?, ?) RETURNING key", (key, text_bytes(ns)))
        return key, int(space)

    def _deleted(self, place: Place, seen: int | None, id: bytes | None) -> Plan[bool]:
        if seen is not None:
            return seen != place.state.deletes
        if not place.state.deletes or id is None:
            return False
        rows = yield Sql("SELECT 1 FROM checkpoint WHERE space = ? AND id = ?", (place.space, id))
        return not rows

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

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

    ``head`` and ``stored`` are keys: of the head, and of the checkpoint that was asked for.
    """

    thread: int | None
    state: ThreadState
    touched_at: int = 0
    space: int | None = None
    head: int | None = None
    head_id: bytes | None = None
    stored: int | None = None


_PLACE_ROOT = """
    SELECT t.deletes, t.sweeps, h.seq, t.key, t.touched_at, h.space, h.checkpoint,
        (SELECT id FROM checkpoint WHERE key = h.checkpoint),
        (SELECT checkpoint FROM entry WHERE space = h.space AND id = ?)
    FROM thread t JOIN entry h ON h.space = t.key AND h.id = x'ff' WHERE t.identity = ?"""
_PLACE_BELOW = """
    SELECT t.deletes, t.sweeps, r.seq, t.key, t.touched_at, -s.key, h.checkpoint,
        (SELECT id FROM checkpoint WHERE key = h.checkpoint),
        (SELECT checkpoint FROM entry WHERE space = -s.key AND id = ?)
    FROM thread t JOIN entry r ON r.space = t.key AND r.id = x'ff'
    LEFT JOIN space s ON s.thread = t.key AND s.ns = ?
    LEFT JOIN entry h ON h.space = -s.key AND h.id = x'ff' WHERE t.identity = ?"""

SPACES = "SELECT key FROM thread WHERE key = ?1 UNION ALL SELECT -key FROM space WHERE thread = ?1"
"""The spaces of a thread, given its key as the only parameter."""

KEYS = f"SELECT checkpoint FROM entry WHERE space IN ({SPACES}) AND id < x'ff'"
"""The keys of its checkpoints."""

TOUCH = "UPDATE entry SET seq = ? WHERE space = ? AND id = x'ff'"
"""Notes a thread's seq."""

TOUCH_SECONDS = 60
"""How far a thread's ``touched_at`` may be behind."""

_identity = lru_cache(1024)(identity)


def is_long_ago(touched_at: int) -> bool:
    """Tell whether a thread's time is to be noted again: its row's page is left alone as a rule."""
    return not 0 <= time.time() - touched_at < TOUCH_SECONDS


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
        name = self._identity(thread, CHECKPOINTS)
        if ns:
            rows = yield Sql(_PLACE_BELOW, (id, text_bytes(ns), name))
        else:
            rows = yield Sql(_PLACE_ROOT, (id, name))
        if not rows:
            return Place(None, ThreadState())
        deletes, sweeps, seq, key, *rest = rows[0]
        return Place(key, ThreadState(deletes, sweeps, seq), *rest)

    def _thread(self, thread: str, kind: int) -> Plan[int | None]:
        rows = yield Sql("SELECT key FROM thread WHERE identity = ?", (self._identity(thread, kind),))
        return rows[0][0] if rows else None

    def _add_thread(self, thread: str, kind: int) -> Plan[int]:
        [[key]] = yield Sql(
            "INSERT INTO thread (identity, tenant, kind, name, touched_at) VALUES (?, ?, ?, ?, ?) RETURNING key",
            (self._identity(thread, kind), self._tenant, kind, text_bytes(thread), int(time.time())),
        )
        return int(key)

    def _room(self, place: Place, thread: str, ns: str) -> Plan[tuple[int, int]]:
        """Return the keys of the thread and namespace, made if they are missing."""
        key, space = place.thread, place.space
        if key is None:
            key = yield from self._add_thread(thread, CHECKPOINTS)
            yield Sql("INSERT INTO entry (space, id, seq) VALUES (?, x'ff', 0)", (key,))
            space = None if ns else key
        elif place.head is None:
            yield Sql("UPDATE thread SET name = ? WHERE key = ? AND name IS NULL", (text_bytes(thread), key))
        if space is None:
            [[space]] = yield Sql("INSERT INTO space (thread, ns) VALUES (?, ?) RETURNING -key", (key, text_bytes(ns)))
            yield Sql("INSERT INTO entry (space, id) VALUES (?, x'ff')", (space,))
        return key, int(space)

    def _deleted(self, place: Place, seen: int | None, id: bytes | None) -> Plan[bool]:
        """Tell whether a writer's run began before the thread was deleted: ``seen`` says, or ``id`` is gone."""
        if seen is not None:
            return seen != place.state.deletes
        if id is None or id == place.head_id:
            return False
        return not (yield Sql("SELECT 1 FROM entry WHERE space = ? AND id = ?", (place.space, id)))

    def _note_time(self, thread: int | None) -> Plan[None]:
        yield Sql("UPDATE thread SET touched_at = ? WHERE key = ?", (int(time.time()), thread))

    def _swept(self, thread: int, old: ThreadState, deletes: int = 0) -> Plan[ThreadState]:
        """Count a sweep, and a delete if it was one."""
        new = ThreadState(old.deletes + deletes, old.sweeps + 1, old.seq + 1)
        yield Sql("UPDATE thread SET sweeps = ?, deletes = ? WHERE key = ?", (new.sweeps, new.deletes, thread))
        yield Sql(TOUCH, (new.seq, thread))
        yield from self._note_time(thread)
        return new

    def _relink(self, thread: int) -> Plan[None]:
        """Set right which commit came before which, and which are heads."""
        keys = "SELECT checkpoint, lag(checkpoint) OVER (PARTITION BY space ORDER BY checkpoint) AS previous"
        yield Sql(
            f"UPDATE checkpoint SET previous = line.previous FROM ({keys} FROM entry WHERE space IN ({SPACES})"
            " AND id < x'ff') AS line WHERE key = line.checkpoint AND checkpoint.previous IS NOT line.previous",
            (thread,),
        )
        yield Sql(
            "UPDATE entry SET checkpoint = (SELECT max(e.checkpoint) FROM entry e WHERE e.space = entry.space"
            f" AND e.id < x'ff') WHERE space IN ({SPACES}) AND id = x'ff'",
            (thread,),
        )

    def _add_chunks(self, thread: int | None, chunks: Sequence[Chunk]) -> Plan[None]:
        if chunks:
            yield Sql(
                "INSERT OR IGNORE INTO chunk (thread, address, refs, data) VALUES (?, ?, ?, ?)",
                [(thread, chunk.address, chunk.refs, chunk.data) for chunk in chunks],
                many=True,
            )

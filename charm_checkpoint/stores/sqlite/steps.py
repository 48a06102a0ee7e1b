"""The steps that the plans of the SQLite store are made of, over one operation: a statement."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import Any, NamedTuple, TypeVar

from charm_checkpoint.contract import Chunk, ThreadState
from charm_checkpoint.plan import Plan
from charm_checkpoint.stores.shared.mark_and_sweep import unreached
from charm_checkpoint.stores.shared.names import CHECKPOINTS, MESSAGES, RECENT, id_bytes, identity, text_bytes
from charm_checkpoint.stores.shared.write_rule import turns_on

T = TypeVar("T")

BATCH = 250
"""Parameters in one statement, well below the 999 that old SQLite builds allow."""


class Sql(NamedTuple):
    """A statement; the reply is its rows. ``many`` runs it once for each of ``params``; it says how many rows changed.

    ``alone`` marks a read that is all of its method: as the first of a plan it is run without a transaction.
    What the plan reads after it may then be of a later state, as with any store whose calls are round trips.

    ``outside``, in a plan that writes, runs it by itself: what was done before is committed, others may write
    meanwhile, and what comes after it is another transaction.

    ``soft``, as the first of a transaction, has the commit not wait for the disk: a power loss may undo it, and nothing
    that was committed before. It is for what only removes, which is then done anew.
    """

    text: str
    params: Sequence[Any] = ()
    many: bool = False
    alone: bool = False
    outside: bool = False
    soft: bool = False


PAUSE = Sql("", outside=True)
"""Commits what was done, and lets other writers in."""


class NamespaceRow(NamedTuple):
    """What one query tells of a thread, one of its namespaces and a checkpoint; None if missing.

    ``head`` and ``stored`` are keys: of the head, and of the checkpoint that was asked for. ``counted`` tells whether
    the thread's row says how much it holds.
    """

    thread: int | None
    state: ThreadState
    counted: int | None = 1
    space: int | None = None
    head: int | None = None
    head_id: bytes | None = None
    stored: int | None = None


class Erased(NamedTuple):
    """The counters of a thread that was erased, or was never there, and those of its message list."""

    state: ThreadState = ThreadState()
    list_sweeps: int = 0
    revision: int = 0


_PLACE = """
    SELECT t.deletes, t.sweeps, t.seq, t.key, t.counted = t.seq, s.key, s.head,
        (SELECT id FROM checkpoint WHERE key = s.head), (SELECT key FROM checkpoint WHERE space = s.key AND id = ?)
    FROM thread t LEFT JOIN space s ON s.thread = t.key AND s.ns = ? WHERE t.identity = ?"""

SPACES = "SELECT key FROM space WHERE thread = ?1"
"""The spaces of a thread, given its key as the only parameter."""

KEYS = f"SELECT key FROM checkpoint WHERE space IN ({SPACES})"
"""The keys of its checkpoints."""

TOUCH = "UPDATE thread SET seq = ?, touched_at = ? WHERE key = ?"
"""Notes a thread's seq, and when it changed."""

NEW = ThreadState()
"""The state of a thread that was never there."""

TOUCH_SECONDS = 60
"""How far the time noted with a message list may be behind."""

_CHUNKS = """
    SELECT address, refs, data FROM chunk
    WHERE thread = (SELECT key FROM thread WHERE identity = ?) AND address IN ({marks})"""
_ADD_THREAD = """
    INSERT INTO thread (identity, tenant, kind, name, touched_at, deletes, sweeps, seq, size, checkpoints, counted)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 0, 0, ?8) RETURNING key"""
# Of a store in which none is kept, this is all that a thread that is not there costs.
_SECRET = "SELECT secret FROM erasure WHERE EXISTS (SELECT 1 FROM erased)"
_ERASED = "SELECT deletes, sweeps, seq, list_sweeps, revision FROM erased WHERE mark = ?"
_ADDED = "SELECT coalesce(sum(length(data)), 0) FROM chunk WHERE key > last_insert_rowid() - ?"
# What is known of a thread as it is: identity, for its key may be another one's later, seq, size, checkpoints, head.
COUNT = f"""
    SELECT t.identity, t.seq, b.size + (SELECT coalesce(sum(length(body)), 0) FROM write WHERE space IN ({SPACES}))
        + (SELECT coalesce(sum(length(data)), 0) FROM chunk WHERE thread = ?1), b.number,
        (SELECT c.id FROM space s JOIN checkpoint c ON c.key = s.head WHERE s.thread = ?1 AND s.ns = x'')
    FROM thread t, (SELECT count(*) AS number, coalesce(sum(length(body)), 0) AS size FROM checkpoint
        WHERE space IN ({SPACES})) b WHERE t.key = ?1"""
_COUNTED = """
    UPDATE thread SET counted = seq, size = ?4, checkpoints = ?5, head = ?6
    WHERE key = ?1 AND identity = ?2 AND seq = ?3"""
_IS_SMALL = f"""
    SELECT (SELECT count(*) FROM (SELECT 1 FROM checkpoint WHERE space IN ({SPACES}) LIMIT ?2)) < ?2
        AND (SELECT count(*) FROM (SELECT 1 FROM chunk WHERE thread = ?1 LIMIT ?2)) < ?2"""
_SMALL = 500
"""A thread of an older file, or that an older program has written to, is counted by a put if it has fewer rows."""
_IS_STORED = "SELECT 1 FROM checkpoint WHERE space = ? AND id = ?"

_identity = lru_cache(RECENT)(identity)


def seconds() -> int:
    """Return the second since 1970."""
    return int(time.time())


def is_long_ago(touched_at: int) -> bool:
    """Tell whether a message list's time is to be noted again: its thread's page is left alone as a rule."""
    return not 0 <= time.time() - touched_at < TOUCH_SECONDS


def batches(wanted: Sequence[T], most: int = BATCH) -> Iterator[Sequence[T]]:
    """Yield as many at a time as one statement may name, the last ones repeated until there is a text for so many.

    It is one of a few texts, so that SQLite's statement cache knows them all.
    """
    for start in range(0, len(wanted), most):
        batch = wanted[start : start + most]
        size = next(size for size in (1, 4, 10, 16, 64, most) if size >= len(batch))
        yield [*batch, *[batch[-1]] * (size - len(batch))]


def mark_of(secret: bytes, identity: bytes) -> bytes:
    """Return what an erased thread is kept under: nobody finds it who has not the key of this file."""
    return blake2b(identity, key=secret, digest_size=16).digest()


class SqliteSteps:
    """What plans share: finding, making and touching threads, chunks in and out."""

    def __init__(self, tenant: str = "") -> None:
        self.tenant = tenant
        self._tenant = text_bytes(tenant)

    def chunks(self, thread: str, addresses: Collection[bytes], messages: bool = False) -> Plan[Mapping[bytes, Chunk]]:
        """Return chunks; see `Backend.chunks`."""
        name = self._identity(thread, MESSAGES if messages else CHECKPOINTS)
        found: dict[bytes, Chunk] = {}
        for batch in batches(list(addresses)):
            marks = ", ".join("?" * len(batch))
            rows = yield Sql(_CHUNKS.format(marks=marks), (name, *batch))
            found.update((name, Chunk(name, refs, data)) for name, refs, data in rows)
        return found

    def _sweep(self, thread: int, roots: Sequence[bytes]) -> Plan[None]:
        rows = yield Sql("SELECT address, refs FROM chunk WHERE thread = ?", (thread,))
        gone = unreached(dict(rows), roots)
        yield Sql("DELETE FROM chunk WHERE thread = ? AND address = ?", [(thread, name) for name in gone], many=True)

    def _identity(self, thread: str, kind: int) -> bytes:
        return _identity(self._tenant, kind, thread)

    def _place(self, thread: str, ns: str, id: bytes | None = None) -> Plan[NamespaceRow]:
        name = self._identity(thread, CHECKPOINTS)
        rows = yield Sql(_PLACE, (id, text_bytes(ns), name))
        if not rows:
            return NamespaceRow(None, (yield from self._erased(thread)).state)
        deletes, sweeps, seq, key, counted, *rest = rows[0]
        return NamespaceRow(key, ThreadState(deletes, sweeps, seq), counted, *rest)

    def _erased(self, thread: str) -> Plan[Erased]:
        """Return the counters that a thread which is not there goes on from."""
        secret = yield Sql(_SECRET)
        if not secret:
            return Erased()
        rows = yield Sql(_ERASED, (mark_of(secret[0][0], self._identity(thread, CHECKPOINTS)),))
        return Erased(ThreadState(*rows[0][:3]), *rows[0][3:]) if rows else Erased()

    def _thread(self, thread: str, kind: int) -> Plan[int | None]:
        rows = yield Sql("SELECT key FROM thread WHERE identity = ?", (self._identity(thread, kind),))
        return rows[0][0] if rows else None

    def _add_thread(self, thread: str, kind: int, state: ThreadState = NEW) -> Plan[tuple[int, ThreadState]]:
        """Add a thread, which goes on from ``state``; return its key, and what it has begun with."""
        [[least]] = yield Sql("SELECT sweeps FROM erasure")
        state = state._replace(sweeps=max(state.sweeps, least))
        row = (self._identity(thread, kind), self._tenant, kind, text_bytes(thread), int(time.time()))
        [[key]] = yield Sql(_ADD_THREAD, (*row, *state))
        return int(key), state

    def _ensure_namespace(self, place: NamespaceRow, thread: str, ns: str) -> Plan[tuple[int, int, ThreadState]]:
        """Return the keys of the thread and namespace, made if they are missing, and the thread's state."""
        key, space, state = place.thread, place.space, place.state
        if key is None:
            key, state = yield from self._add_thread(thread, CHECKPOINTS, state)
        elif place.head is None:
            yield Sql("UPDATE thread SET name = ? WHERE key = ? AND name IS NULL", (text_bytes(thread), key))
        if space is None:
            [[space]] = yield Sql("INSERT INTO space (thread, ns) VALUES (?, ?) RETURNING key", (key, text_bytes(ns)))
        return key, int(space), state

    def _stored_ids(
        self, place: NamespaceRow, id: str, follows: str | None, seen_deletes: int | None
    ) -> Plan[Sequence[str]]:
        """Return which are stored of the checkpoints that the write rule looks at; ``id`` is the one in ``place``."""
        ids = [] if place.stored is None else [id]
        if follows is not None and follows != id and turns_on(follows, seen_deletes, place.state):
            key = id_bytes(follows)
            if key == place.head_id or (yield Sql(_IS_STORED, (place.space, key))):
                ids.append(follows)
        return ids

    def _note_time(self, thread: int | None) -> Plan[None]:
        yield Sql("UPDATE thread SET touched_at = ? WHERE key = ?", (int(time.time()), thread))

    def _swept(self, thread: int, old: ThreadState, deletes: int = 0) -> Plan[ThreadState]:
        """Count a sweep, and a delete if it was one."""
        new = ThreadState(old.deletes + deletes, old.sweeps + 1, old.seq + 1)
        yield Sql("UPDATE thread SET sweeps = ?, deletes = ? WHERE key = ?", (new.sweeps, new.deletes, thread))
        yield Sql(TOUCH, (new.seq, int(time.time()), thread))
        return new

    def _relink(self, thread: int) -> Plan[None]:
        """Set right which commit came before which, and which are heads."""
        keys = "SELECT key, lag(key) OVER (PARTITION BY space ORDER BY key) AS previous"
        yield Sql(
            f"UPDATE checkpoint SET previous = line.previous FROM ({keys} FROM checkpoint WHERE space IN ({SPACES}))"
            " AS line WHERE checkpoint.key = line.key AND checkpoint.previous IS NOT line.previous",
            (thread,),
        )
        yield Sql(
            "UPDATE space SET head = (SELECT max(c.key) FROM checkpoint c WHERE c.space = space.key) WHERE thread = ?",
            (thread,),
        )

    def _add_chunks(self, thread: int | None, chunks: Sequence[Chunk]) -> Plan[int]:
        """Add those that are not there; return their bytes."""
        if not chunks:
            return 0
        [[added]] = yield Sql(
            "INSERT OR IGNORE INTO chunk (thread, address, refs, data) VALUES (?, ?, ?, ?)",
            [(thread, chunk.address, chunk.refs, chunk.data) for chunk in chunks],
            many=True,
        )
        if added == len(chunks):
            return sum(len(chunk.data) for chunk in chunks)
        # New rows have the highest keys, and nobody else writes.
        [[size]] = yield Sql(_ADDED, (added,))
        return int(size) if added else 0

    def _count(self, thread: int, *, outside: bool = False) -> Plan[int]:
        """Note on a thread's row how much it holds, unless it has changed meanwhile; return the bytes.

        It takes long for a large one: ``outside`` looks at it before the transaction in which it is noted.
        """
        rows = yield Sql(COUNT, (thread,), outside=outside)
        if not rows:
            return 0
        yield Sql(_COUNTED, (thread, *rows[0]))
        return int(rows[0][2])

    def _count_small(self, thread: int) -> Plan[None]:
        """Note how much a thread holds of which that is not known, if it does not take long to tell."""
        [[is_small]] = yield Sql(_IS_SMALL, (thread, _SMALL))
        if is_small:
            yield from self._count(thread)

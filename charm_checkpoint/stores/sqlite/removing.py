"""How checkpoints are removed from a SQLite file while others write to it.

What goes is found out before the transaction, which then holds only if the thread is still as it was: nobody waits
while it is looked at. Chunks that nothing reaches any more do no harm; where there are many, they go in transactions
of their own, each of which sees that nothing was written to the thread meanwhile that may reach them again.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from charm_checkpoint.contract import ThreadState, WriteResult
from charm_checkpoint.plan import Plan
from charm_checkpoint.stores.shared.mark_and_sweep import unreached
from charm_checkpoint.stores.shared.names import CHECKPOINTS, id_bytes, text_bytes
from charm_checkpoint.stores.sqlite.room import give_back
from charm_checkpoint.stores.sqlite.steps import PAUSE, SPACES, Sql
from charm_checkpoint.stores.sqlite.threads import SqliteThreads

SLICE = 200
"""Chunks that go in one transaction: some milliseconds."""

_STATE = "SELECT key, deletes, sweeps, seq FROM thread WHERE identity = ?"
_ROWS = f"SELECT key, space, id, previous, roots, length(body) FROM checkpoint WHERE space IN ({SPACES}) ORDER BY key"
_NOTED = "UPDATE thread SET size = ?, checkpoints = ?, head = ?, counted = seq WHERE key = ?"
_DROP_CHUNK = "DELETE FROM chunk WHERE thread = ? AND address = ?"
CLEAR_NOTES = "UPDATE thread SET title = NULL, note = NULL, writes_note = NULL WHERE key = ?"


class CheckpointKey(NamedTuple):
    """What is needed of a checkpoint to take out others around it."""

    key: int
    space: int
    id: bytes
    previous: int | None
    roots: bytes
    size: int


@dataclass
class Removal:
    """What removing checkpoints comes to, of a thread as it was in ``state``."""

    thread: int
    state: ThreadState
    gone: list[tuple[int, bytes]] = field(default_factory=list)
    links: list[tuple[int | None, int]] = field(default_factory=list)
    """Which commit comes before which from now on, where that changes."""
    heads: dict[int, CheckpointKey | None] = field(default_factory=dict)
    """The heads of the namespaces that lose something."""
    root: int | None = None
    doomed: list[tuple[bytes, int]] = field(default_factory=list)
    """Chunks that nothing reaches any more, and their bytes."""
    size: int = 0
    checkpoints: int = 0
    head: bytes | None = None


class SqliteRemoving(SqliteThreads):
    """Removing checkpoints."""

    def remove(self, thread: str, doomed: Collection[tuple[str, str]], expect: int | None) -> Plan[WriteResult]:
        """Remove checkpoints; see `Backend.remove`."""
        removal = yield from self._removal(thread, doomed, outside=True)
        found = yield from self._found(thread)
        if found is None:
            return WriteResult("stored", (yield from self._erased(thread)).state)
        key, state = found
        if expect is not None and expect != state.seq:
            return WriteResult("changed", state)
        if removal is None or (removal.thread, removal.state) != found:
            removal = yield from self._removal(thread, doomed)
            assert removal is not None
        yield from self._cut(removal)
        state = yield from self._swept(key, state)
        yield Sql(_NOTED, (removal.size, removal.checkpoints, removal.head, key))
        yield from self._drop_chunks(thread, removal, state)
        yield from give_back()
        return WriteResult("stored", state)

    def _found(self, thread: str, *, outside: bool = False) -> Plan[tuple[int, ThreadState] | None]:
        rows = yield Sql(_STATE, (self._identity(thread, CHECKPOINTS),), outside=outside)
        return (rows[0][0], ThreadState(*rows[0][1:])) if rows else None

    def _removal(
        self, thread: str, doomed: Collection[tuple[str, str]], *, outside: bool = False
    ) -> Plan[Removal | None]:
        """Find out what removing checkpoints comes to; None if the thread is not there.

        ``outside`` looks from outside of the transaction: it holds if the state is the same afterwards.
        """
        found = yield from self._found(thread, outside=outside)
        if found is None:
            return None
        removal, one = Removal(*found), (found[0],)
        spaces = dict((yield Sql("SELECT ns, key FROM space WHERE thread = ?", one, outside=outside)))
        removal.root = spaces.get(b"")
        gone = {(spaces[ns], id_bytes(id)) for ns, id in ((text_bytes(ns), id) for ns, id in doomed) if ns in spaces}
        rows = [CheckpointKey(*row) for row in (yield Sql(_ROWS, one, outside=outside))]
        text = f"SELECT space, id, length(body) FROM write WHERE space IN ({SPACES})"
        writes = yield Sql(text, one, outside=outside)
        text = "SELECT address, refs, length(data) FROM chunk WHERE thread = ?"
        chunks = yield Sql(text, one, outside=outside)
        _settle(removal, gone, rows)
        emptied = {space for space, head in removal.heads.items() if head is None}
        removal.size += sum(size for space, id, size in writes if (space, id) not in gone and space not in emptied)
        left = [row.roots for row in rows if (row.space, row.id) not in gone]
        _sweep(removal, {address: (refs, size) for address, refs, size in chunks}, left)
        return removal

    def _cut(self, removal: Removal) -> Plan[None]:
        """Take checkpoints and their writes out, and namespaces that have none left, with their writes."""
        for table in ("checkpoint", "write"):
            yield Sql(f"DELETE FROM {table} WHERE space = ? AND id = ?", removal.gone, many=True)
        yield Sql("UPDATE checkpoint SET previous = ? WHERE key = ?", removal.links, many=True)
        for space, head in removal.heads.items():
            if head is not None:
                yield Sql("UPDATE space SET head = ? WHERE key = ?", (head.key, space))
                continue
            yield Sql("DELETE FROM write WHERE space = ?", (space,))
            yield Sql("DELETE FROM space WHERE key = ?", (space,))
            if space == removal.root:
                yield Sql(CLEAR_NOTES, (removal.thread,))

    def _drop_chunks(self, thread: str, removal: Removal, state: ThreadState) -> Plan[None]:
        """Remove the chunks that nothing reaches, in transactions of some; the first one goes on."""
        waiting = removal.doomed
        while True:
            now, waiting = waiting[:SLICE], waiting[SLICE:]
            yield Sql(_DROP_CHUNK, [(removal.thread, address) for address, _ in now], many=True)
            size = sum(size for _, size in now)
            yield Sql("UPDATE thread SET size = size - ? WHERE key = ?", (size, removal.thread))
            if not waiting:
                return
            yield PAUSE
            found = yield from self._found(thread)
            if found != (removal.thread, state):  # what was put meanwhile may reach them
                again = yield from self._removal(thread, ())
                if again is None:
                    return
                removal, waiting, state = again, again.doomed, again.state


def _settle(removal: Removal, gone: Collection[tuple[int, bytes]], rows: Sequence[CheckpointKey]) -> None:
    """Find out how commits follow each other without those that go, in the order of their keys."""
    removal.gone = list(gone)
    last: dict[int, CheckpointKey] = {}
    for row in rows:
        if (row.space, row.id) in gone:
            continue
        previous = last.get(row.space)
        if (previous.key if previous else None) != row.previous:
            removal.links.append((previous.key if previous else None, row.key))
        last[row.space] = row
        removal.size += row.size
        removal.checkpoints += 1
    had = {row.space for row in rows if (row.space, row.id) in gone}
    removal.heads = {space: last.get(space) for space in had}
    head = last.get(removal.root) if removal.root is not None else None
    removal.head = head.id if head else None


def _sweep(removal: Removal, chunks: Mapping[bytes, tuple[bytes, int]], roots: Sequence[bytes]) -> None:
    """Find the chunks that no root reaches; they count until they are gone."""
    gone = unreached({address: refs for address, (refs, _) in chunks.items()}, roots)
    removal.doomed = [(address, chunks[address][1]) for address in gone]
    removal.size += sum(size for _, size in chunks.values())

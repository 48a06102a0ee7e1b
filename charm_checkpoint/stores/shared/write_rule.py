"""The write rule: what becomes of a write, given what the store holds; pure.

`Backend.put`, `put_writes` and `put_messages` say it in words. RAM, SQLite and files decide by the
functions here; Postgres and Supabase (``put``, ``put_writes``, ``put_messages`` and ``is_late`` in
postgres_schema/sql/functions.sql) and Redis (the scripts of these names, ``is_late`` in
redis/lua/common.lua) where their data is. The cases of testing/write_cases.py are played on all.
"""

from __future__ import annotations

from collections.abc import Container

from charm_checkpoint.contract import NewCheckpoint, NewMessages, NewWrites, Outcome, ThreadState
from charm_checkpoint.stores.shared.mark_and_sweep import addresses


def decide(
    new: NewCheckpoint | NewWrites,
    state: ThreadState,
    head: str | None,
    stored: Container[str],
    *,
    lacks_chunks: bool = False,
) -> Outcome:
    """Return what becomes of a checkpoint or of pending writes: the first of the rules that holds.

    ``head`` and ``stored`` are the head of its namespace and the ids of the checkpoints there; a store
    for which it takes a query to know them names those that `turns_on` asks for, and the checkpoint's own.
    ``lacks_chunks`` tells that a chunk is missing which the write left out, in a store that can lose
    one without counting a sweep.
    """
    follows = new.parent if isinstance(new, NewCheckpoint) else new.id
    if new.seen_deletes is not None:
        if new.seen_deletes != state.deletes:
            return "deleted"
    elif turns_on(follows, new.seen_deletes, state) and follows not in stored:
        return "deleted"
    if isinstance(new, NewWrites):
        return "stored"
    if _is_stale(new, state, lacks_chunks):
        return "stale"
    if new.on_conflict == "raise" and is_conflict(new, head, stored):
        return "conflict"
    return "stored"


def turns_on(follows: str | None, seen_deletes: int | None, state: ThreadState) -> bool:
    """Tell whether it matters if the checkpoint is stored that a write follows.

    It does where nothing but that shows that a writer knows of the thread's last delete.
    """
    return seen_deletes is None and state.deletes > 0 and follows is not None


def is_conflict(new: NewCheckpoint, head: str | None, stored: Container[str]) -> bool:
    """Tell whether a checkpoint does not follow the head and is no update of one that is stored."""
    return new.on_conflict != "allow" and head is not None and head not in (new.parent, new.id) and new.id not in stored


def lacks_chunks(new: NewCheckpoint | NewMessages, held: Container[bytes]) -> bool:
    """Tell whether a write left out a chunk that is not there, of a thread whose chunks are ``held``.

    The sweep counter does not tell where it began anew: as of a thread that was erased, and of which nothing was kept.
    """
    if new.base_sweeps is None:
        return False
    sent = {chunk.address for chunk in new.chunks}
    named = addresses(b"".join((new.roots, *(chunk.refs for chunk in new.chunks))))
    return any(name not in held and name not in sent for name in named)


def decide_messages(new: NewMessages, state: ThreadState, revision: int, *, lacks_chunks: bool = False) -> Outcome:
    """Return what becomes of a message list that is to replace the one of ``revision``, whose state is ``state``."""
    if new.expect is not None and new.expect != revision:
        return "changed"
    return "stale" if _is_stale(new, state, lacks_chunks) else "stored"


def _is_stale(new: NewCheckpoint | NewMessages, state: ThreadState, lacks_chunks: bool) -> bool:
    """Tell whether what a write left out may have been swept since."""
    return new.base_sweeps is not None and (lacks_chunks or new.base_sweeps != state.sweeps)

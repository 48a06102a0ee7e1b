"""The plans of the Redis store for many threads: runs, listings, copies, usage.

The threads of each run are kept beside the data, in slots of their own, so no script can write both: a thread is
noted before a run writes to it, and a note without a thread goes when it is met. So it is with the list of threads,
see thread_list.py.
"""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Collection, Sequence
from functools import partial
from typing import Any

from charm_checkpoint.contract import Capabilities, Page, Query, ThreadPage, ThreadRow, ThreadState, Usage, WriteResult
from charm_checkpoint.errors import StoreCorrupt, StoreUnavailable
from charm_checkpoint.plan import Plan
from charm_checkpoint.runtime.cache import ADDRESS, ENTRY, Budget, Cache
from charm_checkpoint.runtime.clock import monotonic
from charm_checkpoint.stores.redis.layout import know_secret
from charm_checkpoint.stores.redis.rows import (
    PINNED,
    TAG_BYTES,
    Arg,
    Call,
    Calls,
    Command,
    Names,
    marked_item,
    optional,
    read_chunks,
    read_items,
    run_bytes,
    run_of_item,
)
from charm_checkpoint.stores.redis.thread_list import BATCH, LISTED_FOR, ThreadList
from charm_checkpoint.stores.shared.names import bytes_text, checkpoint_keys, id_bytes, text_bytes, thread_row

log = logging.getLogger("charm_checkpoint")

MISSES, PROBES = 3, 128
"""Threads without a match after which a listing asks of several at once whether to look into them; and of how many."""
COPY_BYTES = 1 << 20
"""Bytes of a thread that a copy wants to read at a time; it may be several times as much."""
ATTEMPTS = 5
"""How often a copy starts again because its source changed meanwhile."""
_TIME = re.compile(rb"[0-9a-f]{8}")


class RedisThreads(ThreadList):
    """The part of the backend that looks at more than one thread; ``ttl`` in seconds, None for ever."""

    def __init__(
        self, names: Names, capabilities: Capabilities, budget: Budget, ttl: float | None = None, refresh: bool = False
    ) -> None:
        super().__init__(names, capabilities, budget, ttl, refresh)
        self._entered: Cache[tuple[bytes, bytes], tuple[bytes, float]] = Cache(budget, _entered_weight)

    # ----------------------------------------------------------------- listings

    def page(
        self, query: Query, after: Any, size: int, writes: bool = True, known: Collection[bytes] = ()
    ) -> Plan[Page]:
        """Return matches, latest commit first; see `Backend.page`."""
        if query.thread is None:
            return (yield from self._page_of_all(query, after or (0, b"", b""), size, writes))
        tag = self._names.tag(query.thread)
        items, bound, _ = yield from self._page_of(tag, query, after or b"", size, writes, known)
        return Page(items, bound)

    def _page_of(
        self, tag: bytes, query: Query, after: bytes, size: int, writes: bool, known: Collection[bytes] = ()
    ) -> Plan[tuple[Sequence[Any], bytes | None, bool]]:
        """Return a page of one thread, where to go on, and whether the thread holds anything."""
        elsewhere = query.before_thread is not None and self._names.tag(query.before_thread) != tag
        before = id_bytes(query.before) if query.before is not None else None
        reply = yield self._reading(
            "page", tag, after, size, optional(_text(query.ns)), optional(id_bytes(query.id)),
            optional(before), b"".join(query.tags), b"", int(writes), b"".join(known), int(elsewhere),
            b"".join(query.nested),
        )  # fmt: skip
        deletes, sweeps, seq, name, bound, rows, chunks, alive = reply
        if rows:
            yield from self._enlist_reader(tag)
        thread = bytes_text(name) if name is not None else ""
        items = read_items(thread, ThreadState(deletes, sweeps, seq), rows, read_chunks(chunks))
        return items, bound, bool(alive)

    def _page_of_all(self, query: Query, after: tuple[int, bytes, bytes], size: int, writes: bool) -> Plan[Page]:
        """Go on through all threads, from (part of the list, tag, bound in that thread)."""
        items: list[Any] = []
        number, last, bound = after
        if last and bound:
            found, more, _ = yield from self._page_of(last, query, bound, size, writes)
            items += found
            if more:
                return Page(items, (number, last, more))
        missed = 0
        while number < len(self._names.listings()):
            entries = yield from self._entries(number, last)
            may_match: list[bool] = []
            gone: list[bytes] = []
            for at, entry in enumerate(entries):
                if len(items) >= size:
                    yield from self._strike(number, gone)
                    return Page(items, (number, last, b""))
                if missed >= MISSES and not may_match:
                    ahead = entries[at : at + min(4 * missed, PROBES)]
                    may_match = list(reversed((yield from self._probed(ahead, query))))
                last = entry[:TAG_BYTES]
                if may_match and not may_match.pop():
                    missed += 1
                    continue
                found, more, alive = yield from self._page_of(last, query, b"", size - len(items), writes)
                items += found
                missed = 0 if found else missed + 1
                if more:
                    yield from self._strike(number, gone)
                    return Page(items, (number, last, more))
                if not alive:
                    gone.append(entry)
            yield from self._strike(number, gone)
            if len(entries) < BATCH:
                number, last = number + 1, b""
        return Page(items)

    def _probed(self, entries: Sequence[bytes], query: Query) -> Plan[list[bool]]:
        """Tell of each of these threads whether to look into it, in one round trip to each server."""
        tags = [entry[:TAG_BYTES] for entry in entries]
        replies = yield Calls([Call("probe", self._names.thread(tag)[:3], self._probe(tag, query)) for tag in tags])
        return list(map(bool, replies))

    def _probe(self, tag: bytes, query: Query) -> tuple[Arg, ...]:
        below = None
        if query.before is not None and query.before_thread is not None and self._names.tag(query.before_thread) != tag:
            below = id_bytes(query.before)
        return (
            b"", optional(_text(query.ns)), optional(id_bytes(query.id)), optional(below),
            b"".join(query.tags), b"".join(query.nested),
        )  # fmt: skip

    # --------------------------------------------------------------------- runs

    def _enter_run(self, tag: bytes, run: bytes, token: bytes = b"", anew: bool = False) -> Plan[tuple[bytes, bool]]:
        """Note, before it is so, that a run writes to a thread; return the note's token and whether it was made now.

        It is made where this process has not done so lately, with a token that is given, or ``anew``.
        """
        if not run:
            return b"", False
        held, now = self._entered.get((run, tag)), monotonic()
        if not token and not anew and held is not None and held[1] + self._listed_for > now:
            return held[0], False
        token = token or os.urandom(8)
        yield Call("enter_run", (self._names.run(run),), (self._life, tag, token))
        self._entered.put((run, tag), (token, now))
        return token, True

    def _leave_runs(self, tag: bytes, ended: Sequence[bytes]) -> Plan[None]:
        """Drop the notes of runs, given alternately with their tokens, that have nothing left in a thread."""
        for run, token in zip(ended[::2], ended[1::2], strict=True):
            yield Call("leave_run", (self._names.run(run),), (b"", tag, token))

    def runs(self, run_ids: Collection[str]) -> Plan[Sequence[tuple[str, str, str]]]:
        """Return the checkpoints of runs; see `Backend.runs`."""
        found: list[tuple[str, str, str]] = []
        for run in map(run_bytes, run_ids):
            tags: Sequence[bytes] = yield Command(("HKEYS", self._names.run(run)))
            if not tags and self._ttl is not None:
                # Later runs kept the thread alive, and nobody this run's note.
                tags = [entry[:TAG_BYTES] for _, entry in (yield from self._all_entries())]
            for tag in tags:
                try:
                    found += yield from self._run_in(tag, run)
                except StoreCorrupt as error:
                    log.warning("A thread is not looked through for runs: %s", error)
        return found

    def _run_in(self, tag: bytes, run: bytes) -> Plan[list[tuple[str, str, str]]]:
        found: list[tuple[str, str, str]] = []
        after: bytes | None = b""
        while after is not None:
            _, _, _, name, after, rows, _, _ = yield self._reading(
                "page", tag, after, BATCH, b"", b"", b"", b"", optional(run), 0, b"", 0, b""
            )
            found += checkpoint_keys([(name, ns, id) for ns, id, *_ in rows])
        return found

    # --------------------------------------------------------------------- copies

    def copy_thread(self, source: str, target: str) -> Plan[WriteResult]:
        """Copy a thread; see `Backend.copy_thread`. The two may be on different servers of a cluster."""
        yield from know_secret(self._names, make=True)
        for _ in range(ATTEMPTS):
            dumped = yield from self._dump(self._names.tag(source))
            if dumped is None:
                continue
            items, notes = dumped
            owner = self._names.identity(target)
            items = [marked_item(item, owner) for item in items]
            reply = yield from self._adopt(self._names.tag(target), text_bytes(target), items, notes)
            if reply[0] != b"unstaged":
                outcome, deletes, sweeps, seq = reply
                return WriteResult(outcome.decode(), ThreadState(deletes, sweeps, seq))
        raise StoreUnavailable(f"Thread {source!r} kept changing meanwhile; nothing was copied, try again.")

    def _dump(self, tag: bytes) -> Plan[tuple[list[bytes], list[bytes]] | None]:
        """Return all that is in a thread, as it was at one moment, and its notes; None if it changed meanwhile."""
        items: list[bytes] = []
        began, phase, cursor, size = None, b"c", b"0", 16
        while phase:
            seq, phase, cursor, some, notes = yield self._reading("dump", tag, phase, cursor, size)
            if began not in (None, seq):
                return None
            began, sent = seq, sum(map(len, some))
            items += some
            size = min(1000, size * 2) if sent < COPY_BYTES else max(1, size // 2)
            if phase == b"w" and not items:
                break
        return items, list(map(optional, notes))

    def _adopt(self, tag: bytes, name: bytes, items: Sequence[bytes], notes: Sequence[bytes]) -> Plan[Any]:
        token = os.urandom(8)
        if not items:
            return (yield self._call("adopt", tag, name, token, *notes, int(time.time()), b"", 0))
        for run in {run_of_item(item) for item in items if item[:1] == b"c"} - {b""}:
            yield from self._enter_run(tag, run, token)
        stage = yield from self._send_ahead(tag, items)
        args: tuple[Arg, ...] = (name, token, *notes, int(time.time()))
        reply = yield from self._listed_first(tag, partial(self._taking, "adopt", tag, stage, len(items), args))
        if reply[0] != b"stored":
            yield Command(("UNLINK", stage))
        return reply

    def _send_ahead(self, tag: bytes, items: Sequence[bytes]) -> Plan[bytes]:
        """Put items down for the call that follows; return the key they are at."""
        stage = self._names.stage(tag, os.urandom(6).hex().encode())
        batch: list[bytes] = []
        size = 0
        for item in items:
            batch.append(item)
            size += len(item)
            if size > COPY_BYTES or len(batch) == 1000:
                yield Call("stage", (stage,), (b"", *batch))
                batch, size = [], 0
        if batch:
            yield Call("stage", (stage,), (b"", *batch))
        return stage

    def _taking(
        self, script: str, tag: bytes, stage: bytes, count: int, args: Sequence[Arg], intent: bytes
    ) -> Plan[Any]:
        """Make a call that takes so many items from where they were put down."""
        call = self._call(script, tag, *args, intent, count)
        return (yield call._replace(keys=(*call.keys, stage)))

    # ---------------------------------------------------------------------- size

    def usage(self, thread: str | None) -> Plan[Usage]:
        """Count what is stored; see `Backend.usage`."""
        if thread is not None:
            counts = yield self._reading("usage", self._names.tag(thread))
            return Usage(damaged=1) if counts[-1] else Usage(*counts[:-1])
        totals, damaged = [0] * 5, 0
        for number in range(len(self._names.listings())):
            last: bytes | None = b""
            while last is not None:
                entries = yield from self._entries(number, last)
                gone = []
                for entry, counts in zip(entries, (yield from self._each("usage", entries)), strict=True):
                    if isinstance(counts, StoreCorrupt):
                        log.warning("A thread is not counted: %s", counts)
                        damaged += 1
                        continue
                    if counts[-1]:
                        log.warning("A thread is not counted: its message list is lost.")
                        damaged += 1
                        continue
                    if not counts[0]:
                        gone.append(entry)
                    totals = [total + count for total, count in zip(totals, counts[:-1], strict=True)]
                yield from self._strike(number, gone)
                last = entries[-1][:TAG_BYTES] if len(entries) == BATCH else None
        return Usage(*(*totals, damaged))

    def threads(self, after: Any, size: int) -> Plan[ThreadPage]:
        """Return threads, in the order of the list of threads, which is none; see `Backend.threads`."""
        number, last = after or (0, b"")
        rows: list[ThreadRow] = []
        while number < len(self._names.listings()):
            entries = (yield from self._entries(number, last))[: size - len(rows)]
            gone: list[bytes] = []
            for entry, reply in zip(entries, (yield from self._each("threads", entries)), strict=True):
                if isinstance(reply, StoreCorrupt):
                    rows.append(ThreadRow(None, damage=str(reply)))
                elif reply[0]:
                    rows.append(dated(row_of(reply), entry))
                else:
                    gone.append(entry)
                last = entry[:TAG_BYTES]
            yield from self._strike(number, gone)
            if len(rows) >= size:
                return ThreadPage(rows, (number, last))
            if not entries:
                number, last = number + 1, b""
        return ThreadPage(rows)


def row_of(reply: Sequence[Any]) -> ThreadRow:
    """Return a thread's row of what the script says of it."""
    _, name, at, checkpoints, has_messages, head, *notes, error, size, pinned = reply
    damage = None if error is None else f"{error.decode()}: a key of this thread is not what it should be"
    held = size if damage is None else None
    return thread_row(name, at, checkpoints, has_messages, head or None, notes, damage, held, bool(pinned))


def dated(row: ThreadRow, entry: bytes) -> ThreadRow:
    """Return a row with the time by which it was changed last, if only its entry in the list tells: of 0.1.0.

    A program writes to a thread for no longer than `LISTED_FOR` until it enters it anew. The entry of a pinned one
    tells no time.
    """
    entered = entry[TAG_BYTES : TAG_BYTES + len(PINNED)]
    if row.touched_at or entered == PINNED or not _TIME.fullmatch(entered):
        return row
    return row._replace(touched_at=int(entered, 16) + int(LISTED_FOR))


def _entered_weight(note: tuple[bytes, bytes], entered: tuple[bytes, float]) -> int:
    return ENTRY + 3 * ADDRESS + 150 + len(note[0])


def _text(text: str | None) -> bytes | None:
    return None if text is None else text_bytes(text)

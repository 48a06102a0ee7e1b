"""The plans of the Redis store for many threads: the list of threads, runs, listings, copies, usage.

The list of threads and the threads of each run are kept beside the data, in slots of their own, so no
script can write both. They are written as a second step, and made good by whoever comes next:
an entry without a thread goes when it is met; a thread without an entry gets one at its next write by a
process that has not seen to it lately.
"""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Sequence
from typing import Any

from charm_checkpoint.backends.names import bytes_text, id_bytes, id_text, text_bytes
from charm_checkpoint.backends.redis_rows import (
    TAG_BYTES,
    Arg,
    Call,
    Command,
    Names,
    optional,
    part,
    read_chunks,
    read_items,
    run_bytes,
    run_of,
)
from charm_checkpoint.cache import Cache
from charm_checkpoint.contract import Abilities, Page, Query, Reply, ThreadState, Usage
from charm_checkpoint.errors import StoreUnavailable
from charm_checkpoint.plan import Plan

REMEMBERED = 8192
"""Entries that a process remembers to have made."""
LISTED_FOR = 3600.0
"""Seconds after which a thread's entry is seen to again; a quarter of the time to live if that is less."""
BATCH = 500
"""Entries of the list of threads read at a time."""
COPY_BYTES = 1 << 20
"""Bytes of a thread that a copy wants to read at a time; it may be several times as much."""
ATTEMPTS = 5
"""How often a copy starts again because its source changed meanwhile."""
SLACK = 86400.0
"""Seconds by which the clocks of two clients may differ before one takes the other's entries for outdated."""


class RedisThreads:
    """The part of the backend that looks at more than one thread; ``ttl`` in seconds, None for ever."""

    def __init__(self, names: Names, abilities: Abilities, ttl: float | None = None, refresh: bool = False) -> None:
        self.abilities = abilities
        self._names = names
        self._life: Arg = b"" if ttl is None else max(1, round(ttl * 1000))
        self._read_life: Arg = self._life if refresh else b""
        self._ttl = ttl
        self._listed_for = LISTED_FOR if ttl is None else min(LISTED_FOR, ttl / 4)
        self._listed: Cache[bytes, float] = Cache(REMEMBERED)
        self._entered: Cache[tuple[bytes, bytes], tuple[bytes, float]] = Cache(REMEMBERED)

    def _call(self, script: str, tag: bytes, *args: Arg) -> Call:
        return Call(script, self._names.thread(tag), (self._life, *args), write=True)

    def _reading(self, script: str, tag: bytes, *args: Arg) -> Call:
        return Call(script, self._names.thread(tag), (self._read_life, *args))

    # -------------------------------------------------------- the list of threads

    def _enlist(self, tag: bytes, fresh: bool) -> Plan[None]:
        """See to a thread's entry in the list of threads, if this process has not done so lately."""
        now = time.monotonic()
        if not fresh and (self._listed.get(tag) or -self._listed_for) + self._listed_for > now:
            return
        clock = time.time()
        token = b"%08x" % int(clock) + os.urandom(3).hex().encode()
        life = b"" if self._ttl is None else max(1, round(self._ttl * 2000))
        cutoff = 0 if self._ttl is None else int(clock - 4 * self._ttl - SLACK)
        yield Call("register", (self._names.listing(tag),), (life, tag, token, int(fresh), cutoff))
        self._listed.put(tag, now)

    def _enlist_reader(self, tag: bytes) -> Plan[None]:
        if self._read_life != b"":
            yield from self._enlist(tag, fresh=False)

    def _entries(self, number: int, last: bytes) -> Plan[Sequence[bytes]]:
        """Return entries of one part of the list, in order of tags, after that of ``last``."""
        start = b"(" + last + b"\xff" if last else b"-"
        entries: Sequence[bytes] = yield Command(
            ("ZRANGEBYLEX", self._names.listings()[number], start, b"+", "LIMIT", 0, BATCH)
        )
        return entries

    def _strike(self, number: int, entry: bytes) -> Plan[None]:
        """Take out an entry whose thread is gone; one made anew since has another token, and stays."""
        yield Command(("ZREM", self._names.listings()[number], entry))

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
        while number < len(self._names.listings()):
            entries = yield from self._entries(number, last)
            for entry in entries:
                if len(items) >= size:
                    return Page(items, (number, last, b""))
                last = entry[:TAG_BYTES]
                found, more, alive = yield from self._page_of(last, query, b"", size - len(items), writes)
                items += found
                if more:
                    return Page(items, (number, last, more))
                if not alive:
                    yield from self._strike(number, entry)
            if len(entries) < BATCH:
                number, last = number + 1, b""
        return Page(items)

    # --------------------------------------------------------------------- runs

    def _enter_run(self, tag: bytes, run: bytes, token: bytes = b"") -> Plan[tuple[bytes, bool]]:
        """Note, before it is so, that a run writes to a thread; return the note's token and whether it was made now."""
        if not run:
            return b"", False
        held, now = self._entered.get((run, tag)), time.monotonic()
        if not token and held is not None and held[1] + self._listed_for > now:
            return held[0], False
        token = token or os.urandom(8)
        yield Call("enter_run", (self._names.run(run),), (self._life, tag, token))
        self._entered.put((run, tag), (token, now))
        return token, True

    def _leave_runs(self, tag: bytes, ended: Sequence[bytes]) -> Plan[None]:
        """Drop the notes of runs, given with their tokens by turns, that have nothing left in a thread."""
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
                found += yield from self._run_in(tag, run)
        return found

    def _run_in(self, tag: bytes, run: bytes) -> Plan[list[tuple[str, str, str]]]:
        found: list[tuple[str, str, str]] = []
        after: bytes | None = b""
        while after is not None:
            _, _, _, name, after, rows, _, _ = yield self._reading(
                "page", tag, after, BATCH, b"", b"", b"", b"", optional(run), 0, b"", 0
            )
            found += [(bytes_text(name), bytes_text(ns), id_text(id)) for ns, id, *_ in rows]
        return found

    def _all_entries(self) -> Plan[list[tuple[int, bytes]]]:
        """Return the whole list of threads, each entry with the number of the part it is in."""
        found: list[tuple[int, bytes]] = []
        for number in range(len(self._names.listings())):
            last: bytes | None = b""
            while last is not None:
                entries = yield from self._entries(number, last)
                found += [(number, entry) for entry in entries]
                last = entries[-1][:TAG_BYTES] if len(entries) == BATCH else None
        return found

    # --------------------------------------------------------------------- copies

    def copy_thread(self, source: str, target: str) -> Plan[Reply]:
        """Copy a thread; see `Backend.copy_thread`. The two may be on different servers of a cluster."""
        for _ in range(ATTEMPTS):
            items = yield from self._dump(self._names.tag(source))
            if items is None:
                continue
            reply = yield from self._adopt(self._names.tag(target), text_bytes(target), items)
            if reply[0] != b"unstaged":
                outcome, deletes, sweeps, seq = reply
                return Reply(outcome.decode(), ThreadState(deletes, sweeps, seq))
        raise StoreUnavailable(f"Thread {source!r} kept changing meanwhile; nothing was copied, try again.")

    def _dump(self, tag: bytes) -> Plan[list[bytes] | None]:
        """Return all that is in a thread, as it was at one moment; None if it changed meanwhile."""
        items: list[bytes] = []
        began, phase, cursor, size = None, b"c", b"0", 16
        while phase:
            seq, phase, cursor, some = yield self._reading("dump", tag, phase, cursor, size)
            if began not in (None, seq):
                return None
            began, sent = seq, sum(map(len, some))
            items += some
            size = min(1000, size * 2) if sent < COPY_BYTES else max(1, size // 2)
            if phase == b"w" and not items:
                break
        return items

    def _adopt(self, tag: bytes, name: bytes, items: Sequence[bytes]) -> Plan[Any]:
        token = os.urandom(8)
        if not items:
            return (yield self._call("adopt", tag, name, token, 0))
        for run in {_run_of_item(item) for item in items if item[:1] == b"c"} - {b""}:
            yield from self._enter_run(tag, run, token)
        stage = yield from self._send_ahead(tag, items)
        call = self._call("adopt", tag, name, token, len(items))
        reply = yield call._replace(keys=(*call.keys, stage))
        if reply[0] == b"stored":
            yield from self._enlist(tag, fresh=True)
        else:
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

    # ---------------------------------------------------------------------- size

    def usage(self, thread: str | None) -> Plan[Usage]:
        """Count what is stored; see `Backend.usage`."""
        if thread is not None:
            return Usage(*(yield self._reading("usage", self._names.tag(thread))))
        totals = [0] * 5
        for number, entry in (yield from self._all_entries()):
            counts = yield self._reading("usage", entry[:TAG_BYTES])
            if not counts[0]:
                yield from self._strike(number, entry)
            totals = [total + count for total, count in zip(totals, counts, strict=True)]
        return Usage(*totals)


def _text(text: str | None) -> bytes | None:
    return None if text is None else text_bytes(text)


def _run_of_item(item: bytes) -> bytes:
    _, at = part(item, 1)
    _, at = part(item, at)
    return run_of(item[at:])

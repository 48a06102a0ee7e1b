"""The plans of the Redis store that keep threads, or leave nothing of them: pins, erased threads, room.

What is kept of an erased thread is at a key in the slot of the thread's own, whose name takes the store's secret to
make; a list of these names, beside the list of threads, tells which may go.
"""

from __future__ import annotations

import time

from charm_checkpoint.contract import Space, ThreadRow, Usage
from charm_checkpoint.contract_records import added
from charm_checkpoint.errors import StoreCorrupt
from charm_checkpoint.plan import Plan
from charm_checkpoint.stores.redis.layout import ITEMS, know_again, know_secret
from charm_checkpoint.stores.redis.rows import TAG_BYTES, Call, Calls, Command, Everywhere
from charm_checkpoint.stores.redis.thread_list import BATCH
from charm_checkpoint.stores.redis.threads import RedisThreads, dated, row_of

LEAST = 3600
"""Seconds that what is left of an erased thread is kept at least before it expires, since clocks differ."""


class RedisErasing(RedisThreads):
    """The part of the backend that pins and erases threads."""

    def erase_thread(self, thread: str, until: int, idle_since: int | None = None) -> Plan[Usage]:
        """Remove everything of a thread; see `Backend.erase_thread`.

        What stays expires by itself, at that time or in an hour.
        """
        yield from self.layout.need(ITEMS)
        yield from know_again(self._names, self.layout)
        usage = yield from self._erase(self._names.tag(thread), until, idle_since)
        legacy = self._names.legacy(thread)
        if usage is not None and legacy is not None:
            yield Command(("DEL", legacy))
        return usage or Usage()

    def _erase(self, tag: bytes, until: int, idle_since: int | None = None) -> Plan[Usage | None]:
        """Remove everything at a thread's tag; return what there was, None if it stays."""
        # Those of before: one that a thread begun anew gets meanwhile has another token, and stays.
        entries = yield self._entries_of(tag)
        expires = max(until, int(time.time()) + LEAST) * 1000
        done, *counts, ended = yield self._call("erase", tag, until, b"" if idle_since is None else idle_since, expires)
        if not done:
            return None
        if until:
            yield Command(("ZADD", self._names.graves(), until, self._names.mark(tag)))
        else:
            yield Command(("ZREM", self._names.graves(), self._names.mark(tag)))
        if entries:
            yield Command(("ZREM", self._names.listing(tag), *entries))
        yield from self._leave_runs(tag, ended)
        return Usage(*counts)

    def erase_unnamed(self, until: int) -> Plan[Usage]:
        """Remove everything of threads that do not tell their name; see `ErasesUnnamed`."""
        yield from self.layout.need(ITEMS)
        yield from know_again(self._names, self.layout)
        usage = Usage()
        entries = [entry for _, entry in (yield from self._all_entries())]
        for start in range(0, len(entries), BATCH):
            some = entries[start : start + BATCH]
            for entry, reply in zip(some, (yield from self._each("threads", some)), strict=True):
                if isinstance(reply, StoreCorrupt) or (reply[0] and row_of(reply).thread is None):
                    yield from self._erase(entry[:TAG_BYTES], until)
                    usage = added(usage, Usage(damaged=1))
        return usage

    def forget_erased(self, now: int) -> Plan[int]:
        """Remove what is kept of erased threads; see `Backend.forget_erased`.

        What expired by itself is not counted.
        """
        graves, forgotten = self._names.graves(), 0
        while True:
            marks = yield Command(("ZRANGEBYSCORE", graves, "-inf", now, "LIMIT", 0, BATCH))
            if not marks:
                return forgotten
            calls = [Call("forget", (self._names.grave(mark),), (now,), write=True) for mark in marks]
            forgotten += sum(reply == 1 for reply in (yield Calls(calls)))
            yield Command(("ZREM", graves, *marks))

    def thread_row(self, thread: str) -> Plan[ThreadRow | None]:
        """Return one thread's row; see `TellsThreads`."""
        tag = self._names.tag(thread)
        [reply] = yield from self._each("threads", [tag])
        if isinstance(reply, StoreCorrupt):
            return ThreadRow(thread, damage=str(reply))
        if not reply[0]:
            return None
        row = row_of(reply)
        return row if row.touched_at else dated(row, (yield from self._entry(tag)))

    def _entry(self, tag: bytes) -> Plan[bytes]:
        """Return a thread's entry in the list of threads, b"" if it has none."""
        entries = yield self._entries_of(tag)
        return bytes(entries[-1]) if entries else b""

    def _entries_of(self, tag: bytes) -> Command:
        return Command(("ZRANGEBYLEX", self._names.listing(tag), b"[" + tag, b"(" + tag + b"\xff"))

    def pin(self, thread: str, pinned: bool) -> Plan[bool]:
        """Note that a thread is to be kept; see `Backend.pin`.

        A pinned one does not expire; when the pin is taken off, it has the time to live again.
        """
        if pinned:
            yield from self.layout.need(ITEMS)
        yield from know_secret(self._names, make=True)
        tag = self._names.tag(thread)
        if pinned and self._ttl is not None:
            # Before, so that the list never loses it as one that expired; the entry of none goes when it is met.
            yield self._registration(tag, pinned)
        is_there = yield self._call("pin", tag, int(pinned))
        if is_there and not pinned and self._ttl is not None:
            yield self._registration(tag, pinned)
        return bool(is_there)

    def space(self) -> Plan[Space]:
        """Tell how much memory the servers use, whatever is there besides; see `Backend.space`.

        How much of it is this store's, or holds nothing, only a look at every key would tell.
        """
        taken = [used_memory(reply.decode("utf-8", "replace")) for reply in (yield Everywhere("memory"))]
        return Space(None if None in taken else sum(filter(None, taken)), kind="memory")

    def compact(self, size: int | None) -> Plan[Space]:
        """Tell how much memory the servers use: they give it back by themselves; see `Backend.compact`."""
        return (yield from self.space())


def used_memory(info: str) -> int | None:
    """Return what a server's INFO says of its memory, None if it does not."""
    facts = dict(line.partition(":")[::2] for line in info.splitlines())
    return int(facts["used_memory"]) if facts.get("used_memory", "").isdigit() else None

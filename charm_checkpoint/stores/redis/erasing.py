"""The plans of the Redis store that keep threads, or leave nothing of them: pins, erased threads, room.

What is kept of an erased thread is at a key in the slot of the thread's own, whose name takes the store's secret to
make; a list of these names, beside the list of threads, tells which may go.
"""

from __future__ import annotations

import time

from charm_checkpoint.contract import Space, ThreadRow, Usage
from charm_checkpoint.errors import StoreCorrupt
from charm_checkpoint.plan import Plan
from charm_checkpoint.stores.redis.layout import ITEMS, know_secret
from charm_checkpoint.stores.redis.rows import Call, Calls, Command, Everywhere
from charm_checkpoint.stores.redis.threads import BATCH, RedisThreads, row_of

LEAST = 3600
"""Seconds that what is left of an erased thread is kept at least before it expires, since clocks differ."""


class RedisErasing(RedisThreads):
    """The part of the backend that pins and erases threads."""

    def erase_thread(self, thread: str, until: int, idle_since: int | None = None) -> Plan[Usage]:
        """Remove everything of a thread; see `Backend.erase_thread`.

        What stays expires by itself, at that time or in an hour.
        """
        yield from self.layout.need(ITEMS)
        yield from know_secret(self._names, make=True)
        tag = self._names.tag(thread)
        listing, start = self._names.listing(tag), b"[" + tag
        # Those of before: one that a thread begun anew gets meanwhile has another token, and stays.
        entries = yield Command(("ZRANGEBYLEX", listing, start, b"(" + tag + b"\xff"))
        expires = max(until, int(time.time()) + LEAST) * 1000
        done, *counts, ended = yield self._call("erase", tag, until, b"" if idle_since is None else idle_since, expires)
        if not done:
            return Usage()
        if until:
            yield Command(("ZADD", self._names.graves(), until, self._names.mark(tag)))
        else:
            yield Command(("ZREM", self._names.graves(), self._names.mark(tag)))
        if entries:
            yield Command(("ZREM", listing, *entries))
        yield from self._leave_runs(tag, ended)
        legacy = self._names.legacy(thread)
        if legacy is not None:
            yield Command(("DEL", legacy))
        return Usage(*counts)

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
        [reply] = yield from self._each("threads", [self._names.tag(thread)])
        if isinstance(reply, StoreCorrupt):
            return ThreadRow(thread, damage=str(reply))
        return row_of(reply) if reply[0] else None

    def pin(self, thread: str, pinned: bool) -> Plan[bool]:
        """Note that a thread is to be kept; see `Backend.pin`.

        A pinned one does not expire; when the pin is taken off, it has the time to live again.
        """
        if pinned:
            yield from self.layout.need(ITEMS)
        yield from know_secret(self._names, make=True)
        tag = self._names.tag(thread)
        is_there = yield self._call("pin", tag, int(pinned))
        if is_there and self._ttl is not None:
            # So that the list of threads does not lose it as one that expired.
            yield self._registration(tag, fresh=True, pinned=pinned)
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

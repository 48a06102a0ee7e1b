"""The list of the threads in Redis, which is kept beside them.

It is in slots of its own, so no script can write it together with a thread. A thread is entered before anything of it
is stored, under a note (`INTENT`) in its own slot; its first write is done only while that note is there. Who meets an
entry without a thread takes back the note, then the entry. So whoever is killed wherever leaves no thread that is not
listed; what is lost of the list all the same, as by an eviction, comes back with the next write by a process that has
not seen to it lately.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from typing import Any

from charm_checkpoint.contract import Capabilities
from charm_checkpoint.errors import StoreCorrupt, StoreUnavailable
from charm_checkpoint.plan import Plan
from charm_checkpoint.runtime.cache import ADDRESS, ENTRY, Budget, Cache
from charm_checkpoint.runtime.clock import monotonic
from charm_checkpoint.stores.redis.layout import Layout, know_again
from charm_checkpoint.stores.redis.rows import INTENT, TAG_BYTES, Arg, Call, Calls, Command, Names

LISTED_FOR = 3600.0
"""Seconds after which a thread's entry is seen to again; a quarter of the time to live if that is less."""
INTENT_FOR = 60.0
"""Seconds that a note of a first write lasts, no longer than a thread that lives for a second or more."""
PEACE = 1 / 6
"""The part of its time for which a note is left in peace by who meets an entry without a thread."""
REFUSED_FOR = 60.0
"""Seconds for which no housekeeping is tried again after a server refused it."""
BATCH = 500
"""Entries of the list of threads read at a time."""
ATTEMPTS = 10
"""How often a first write is tried again because the thread was taken out of the list meanwhile."""
SLACK = 86400.0
"""Seconds that an outdated entry stays at least: older versions wrote the time of their own clocks."""


class ThreadList:
    """The part of the backend that lists threads; ``ttl`` in seconds, None for ever."""

    def __init__(
        self, names: Names, capabilities: Capabilities, budget: Budget, ttl: float | None = None, refresh: bool = False
    ) -> None:
        self.capabilities = capabilities
        self.tenant = names.tenant
        self.layout = Layout(names.version())
        self._names = names
        self._life: Arg = b"" if ttl is None else max(1, round(ttl * 1000))
        self._read_life: Arg = self._life if refresh else b""
        self._ttl = ttl
        self._listed_for = LISTED_FOR if ttl is None else min(LISTED_FOR, ttl / 4)
        self._refused_till = 0.0
        # A part of the list lives on for this and the time to live: so long may a thread do that is written then.
        self._intent_for = INTENT_FOR if ttl is None else min(INTENT_FOR, max(1.0, ttl))
        self._listed: Cache[bytes, float] = Cache(budget, _listed_weight)

    def _call(self, script: str, tag: bytes, *args: Arg) -> Call:
        return Call(script, self._names.thread(tag), (self._life, *args), write=True)

    def _reading(self, script: str, tag: bytes, *args: Arg) -> Call:
        return Call(script, self._names.thread(tag), (self._read_life, *args))

    # ------------------------------------------------------------------ entering

    def _listed_first(self, tag: bytes, write: Callable[[bytes], Plan[Any]]) -> Plan[Any]:
        """Do what may be a thread's first write, which is refused unless the thread is listed by then.

        ``write`` makes the call with an intent, b"" for none, and returns its reply.
        """
        intent = b""
        if self._is_due(tag):
            if self._listed.get(tag) is not None:
                yield from know_again(self._names, self.layout)
            intent = yield from self._announce(tag)
        for _ in range(ATTEMPTS):
            reply = yield from write(intent)
            if reply[0] != b"unlisted":
                return reply
            yield from know_again(self._names, self.layout)  # what was there is gone: was it erased, or all of it lost?
            intent = yield from self._announce(tag)
        raise StoreUnavailable(
            "A thread kept being taken out of the list of threads before its first write; it was not done, try again."
        )

    def _announce(self, tag: bytes) -> Plan[bytes]:
        """Note that a thread is about to be written to, and enter it; return the note, which others may have made."""
        key = self._names.thread(tag)[INTENT]
        note = Command(("SET", key, os.urandom(8), "NX", "PX", round(self._intent_for * 1000)))
        entry = self._registration(tag)._replace(write=True)  # which replicas are to have before the thread
        replies = yield Calls([note, Command(("GET", key)), entry], ordered=True)
        for reply in replies:
            if isinstance(reply, StoreCorrupt):
                raise reply
        self._listed.put(tag, monotonic())
        return bytes(replies[1] or b"")

    def _enlist(self, tag: bytes) -> Plan[None]:
        """Enter a thread that is there."""
        yield self._registration(tag)._replace(write=True)

    def _enlist_reader(self, tag: bytes) -> Plan[None]:
        """See to the entry of a thread that was read, where that lets it live longer, if it is due."""
        if self._read_life != b"" and self._is_due(tag):
            if (yield from self._tidy(self._registration(tag))):
                self._listed.put(tag, monotonic())

    def _is_due(self, tag: bytes) -> bool:
        return (self._listed.get(tag) or -self._listed_for) + self._listed_for <= monotonic()

    def _registration(self, tag: bytes, pinned: bool | None = None) -> Call:
        """Return the call that gives a thread a new entry; ``pinned`` None: as the one it has, if any."""
        token, pin = os.urandom(3).hex().encode(), b"" if pinned is None else int(pinned)
        ttl = self._ttl or 0.0
        life = b"" if self._ttl is None else round((ttl + max(1.0, ttl)) * 1000)
        age = round(4 * ttl + SLACK)
        return Call("register", (self._names.listing(tag),), (life, tag, token, pin, age, int(time.time())))

    # ------------------------------------------------------------------- reading

    def _tidy(self, operation: Call | Command) -> Plan[bool]:
        """Do a bit of housekeeping inside a read, and tell whether it was done.

        A replica refuses it, and so does a server to a user who may not write: then the read goes on without, and
        those after it for a while.
        """
        if monotonic() < self._refused_till:
            return False
        if (yield operation._replace(tidying=True)) is None:
            self._refused_till = monotonic() + REFUSED_FOR
            return False
        return True

    def _entries(self, number: int, last: bytes) -> Plan[Sequence[bytes]]:
        """Return entries of one part of the list, in order of tags, after that of ``last``."""
        start = b"(" + last + b"\xff" if last else b"-"
        entries: Sequence[bytes] = yield Command(
            ("ZRANGEBYLEX", self._names.listings()[number], start, b"+", "LIMIT", 0, BATCH)
        )
        return entries

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

    def _each(self, script: str, entries: Sequence[bytes]) -> Plan[Sequence[Any]]:
        """Make one call for each of these threads, without letting them live longer."""
        calls = [Call(script, self._names.thread(entry[:TAG_BYTES]), (b"",)) for entry in entries]
        replies: Sequence[Any] = (yield Calls(calls)) if calls else ()
        return replies

    def _strike(self, number: int, entries: Sequence[bytes]) -> Plan[None]:
        """Take out entries whose threads are gone, but for those that somebody is about to write to.

        One that is made anew meanwhile has another token, and stays.
        """
        if not entries or monotonic() < self._refused_till:
            return
        keys = [self._names.thread(entry[:TAG_BYTES]) for entry in entries]
        longest = round(self._intent_for * (1 - PEACE) * 1000)
        replies = yield Calls([Call("vacant", names, (b"", longest), tidying=True) for names in keys])
        if None in replies:
            self._refused_till = monotonic() + REFUSED_FOR
            return
        doomed = [entry for entry, gone in zip(entries, replies, strict=True) if gone == 1]
        if doomed:
            yield from self._tidy(Command(("ZREM", self._names.listings()[number], *doomed)))


def _listed_weight(tag: bytes, at: float) -> int:
    return ENTRY + ADDRESS + 32

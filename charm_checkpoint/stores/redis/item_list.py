"""The list of spaces, kept beside them, in a slot of its own, so no script can write both.

A space that holds an item is always listed. A first item is put in three steps: an attempt leaves an *intent* in the
space, the space is listed under a new token, and the second attempt holds if the intent is still there. Whoever meets
a listed space without items reads its token, takes back the intent if there is one, and then takes out the entry of
that token: a put that comes in between finds no intent, and one that was listed anew has another token.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

from charm_checkpoint.plan import Plan
from charm_checkpoint.runtime.cache import ADDRESS, ENTRY, Budget, Cache
from charm_checkpoint.runtime.clock import monotonic
from charm_checkpoint.stores.redis.item_rows import INTENT, ROWS, ItemNames
from charm_checkpoint.stores.redis.rows import Call, Calls, Command

LISTED_FOR = 3600.0
"""Seconds after which a space's entry is seen to again: what a failover lost of the list comes back so."""
REFUSED_FOR = 60.0
"""Seconds for which no housekeeping is tried again after a server refused it."""
PAGE = 5000
"""Paths of the list that are read at a time."""
AT_ONCE = 2000
"""Calls of one exchange."""
LARGE = 4 << 20
"""Bytes of paths in one call."""


class SpaceList:
    """The list of spaces of one prefix and tenant."""

    def __init__(self, names: ItemNames, budget: Budget) -> None:
        self._names = names
        self._seen_to: Cache[bytes, float] = Cache(budget, _weight)
        self._refused_till = 0.0

    # ------------------------------------------------------------------ reading

    def first(self, prefix: bytes) -> Command:
        """Return the command that reads the first page of the paths below a prefix."""
        return self._page(prefix, b"[" + prefix)

    def rest(self, prefix: bytes, page: Sequence[bytes]) -> Plan[list[bytes]]:
        """Return all paths below a prefix, of which the first page was read."""
        paths = list(page)
        while len(page) == PAGE:
            page = yield self._page(prefix, b"(" + page[-1])
            paths += page
        return paths

    def below(self, prefix: bytes) -> Plan[list[bytes]]:
        """Return all paths below a prefix."""
        return (yield from self.rest(prefix, (yield self.first(prefix))))

    def _page(self, prefix: bytes, start: bytes) -> Command:
        higher = prefix.rstrip(b"\xff")
        end = b"(" + higher[:-1] + bytes((higher[-1] + 1,)) if higher else b"+"
        return Command(("ZRANGEBYLEX", self._names.listing[0], start, end, "LIMIT", 0, PAGE))

    # ------------------------------------------------------------------ writing

    def enter(self, paths: Sequence[bytes], token: bytes) -> Plan[None]:
        """List spaces under a new token, before they get their first item."""
        for entries in self._in_parts(paths):
            yield self._entering(entries, token, fresh=True)
        now = monotonic()
        for path in paths:
            self._seen_to.put(self._names.tag(path), now)

    def is_due(self, path: bytes) -> bool:
        """Tell whether nobody has seen to a space's entry lately."""
        return (self._seen_to.get(self._names.tag(path)) or -LISTED_FOR) + LISTED_FOR <= monotonic()

    def see_to(self, paths: Sequence[bytes]) -> Plan[None]:
        """Enter spaces that hold an item, where they are not."""
        now = monotonic()
        for entries in self._in_parts(paths):
            if (yield from self._tidy([self._entering(entries, os.urandom(8), fresh=False)])) is None:
                return
        for path in paths:
            self._seen_to.put(self._names.tag(path), now)

    def _entering(self, entries: Sequence[bytes], token: bytes, fresh: bool) -> Call:
        return Call("item_list", self._names.listing, (token, int(fresh), *entries), write=True)

    def _in_parts(self, paths: Sequence[bytes]) -> Iterator[list[bytes]]:
        """Yield paths and tags, alternately, as many as one call is to bring."""
        entries: list[bytes] = []
        size = 0
        for path in paths:
            entries += (path, self._names.tag(path))
            size += len(path)
            if size > LARGE or len(entries) >= 2 * PAGE:
                yield entries
                entries, size = [], 0
        if entries:
            yield entries

    def strike(self, emptied: Sequence[tuple[bytes, bytes]]) -> Plan[None]:
        """Take out spaces by their paths and the tokens that they were listed under while they held items."""
        for at in range(0, len(emptied), AT_ONCE):
            some = [(path, self._names.tag(path), token) for path, token in emptied[at : at + AT_ONCE] if token]
            if some:
                args = [part for entry in some for part in entry]
                yield from self._tidy([Call("item_strike", self._names.listing, args)])

    def strike_vacant(self, paths: Sequence[bytes]) -> Plan[None]:
        """Take out those of these spaces that hold no item, which somebody met here."""
        for at in range(0, len(paths), AT_ONCE):
            some = paths[at : at + AT_ONCE]
            tags = [self._names.tag(path) for path in some]
            tokens = yield Command(("HMGET", self._names.listing[1], *tags))
            keys = map(self._names.keys, some)
            vacant = yield from self._tidy([Call("item_vacant", (key[ROWS], key[INTENT]), ()) for key in keys])
            if vacant is None:
                return
            doomed = zip(some, tags, tokens, vacant, strict=True)
            args = [part for path, tag, token, gone in doomed if gone == 1 for part in (path, tag, token or b"")]
            if args and (yield from self._tidy([Call("item_strike", self._names.listing, args)])) is None:
                return

    def _tidy(self, calls: Sequence[Call]) -> Plan[Sequence[Any] | None]:
        """Do a bit of housekeeping, which may be inside a read, and return what it came to.

        A replica refuses it, and so does a server to a user who may not write, or that is out of memory: then the read
        goes on without, and those after it for a while; the reply is None.
        """
        if monotonic() < self._refused_till:
            return None
        replies: Sequence[Any] = yield Calls([call._replace(tidying=True) for call in calls])
        if None in replies:
            self._refused_till = monotonic() + REFUSED_FOR
            return None
        return replies


def _weight(tag: bytes, at: float) -> int:
    return ENTRY + ADDRESS + 32

"""What goes through many spaces in Redis: listings, counts, removals.

The list of spaces is read, and then all of them are asked in one exchange with each server, some hundred at a time.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from charm_checkpoint.contract_items import ItemKey, ItemQuery, ItemRow, ItemUsage
from charm_checkpoint.errors import StoreCorrupt
from charm_checkpoint.plan import Plan
from charm_checkpoint.runtime.cache import Budget
from charm_checkpoint.stores.redis.item_list import AT_ONCE, SpaceList
from charm_checkpoint.stores.redis.item_rows import ENDS, ORDER, ROWS, STATE, VALUES, ItemNames, read_row, unpacked
from charm_checkpoint.stores.redis.rows import Call, Calls, Command
from charm_checkpoint.stores.shared.item_plans import ALWAYS, ItemPlans, behind_last, place

PAGE_BYTES = 4 << 20
"""Bytes of values that an exchange of a listing brings; those of more are fetched once it is known which are wanted."""


@dataclass
class Feed:
    """What has come so far of a space's listing; what is to come is beyond ``bound``, in the order of the listing."""

    path: bytes
    bound: bytes
    found: list[tuple[ItemRow, bool]] = field(default_factory=list)
    goes_on: bool = True

    def take(self, reply: Sequence[Any]) -> None:
        """Take in what item_page.lua told; of each row whether its value came along."""
        bound, *packed = reply
        pieces = unpacked(*packed)
        for key, row, value in zip(pieces[::3], pieces[1::3], pieces[2::3], strict=True):
            item = ItemKey(self.path, key or b"")
            self.found.append((read_row(item, row or b"", value or b""), value is not None))
        self.bound, self.goes_on = bound, bound != b""

    def may_come_before(self, updated: int | None, oldest_first: bool) -> bool:
        """Tell whether an item that has not come yet may come before one of that ``updated``, or beside it."""
        if not self.goes_on or updated is None or not self.bound.startswith(b"("):
            return self.goes_on
        next_to = int(self.bound[1:])
        return next_to < updated if oldest_first else next_to > updated


class Survey(NamedTuple):
    """What a space holds; ``expired`` items are among ``items``."""

    path: bytes
    items: int
    expired: int
    size: int


class RedisItemSurveys(ItemPlans):
    """The part of the items that looks at many spaces."""

    def __init__(self, names: ItemNames, budget: Budget) -> None:
        self._names = names
        self._list = SpaceList(names, budget)

    # -------------------------------------------------------------------- pages

    def page(self, query: ItemQuery) -> Plan[Sequence[ItemRow]]:
        """Return the next items of a listing; see `ItemBackend.page`.

        Each space is asked for a few, and again as long as it may have some that come before the last one wanted.
        """
        bound = b"%d" % query.after[0] if query.after else b"-inf" if query.oldest_first else b"+inf"
        own = Feed(query.prefix, bound)
        page, reply = yield from asked([self._list.first(query.prefix), self._page_call(query, own, 1)])
        own.take(reply)
        paths = yield from self._list.rest(query.prefix, page)
        feeds = [own, *(Feed(path, bound) for path in paths if path != query.prefix)]
        wanted = query.skip + query.size
        asking: Sequence[Feed] = feeds[1:]
        while True:
            for at in range(0, len(asking), AT_ONCE):
                some = asking[at : at + AT_ONCE]
                calls = [self._page_call(query, feed, len(asking)) for feed in some]
                for feed, reply in zip(some, (yield from asked(calls)), strict=True):
                    feed.take(reply)
            ordered = _ordered(feeds, query)
            last = ordered[wanted - 1][0].updated if len(ordered) >= wanted else None
            asking = [feed for feed in feeds if feed.may_come_before(last, query.oldest_first)]
            if not asking:
                break
        return (yield from self._with_values(ordered[query.skip : wanted]))

    def _page_call(self, query: ItemQuery, feed: Feed, among: int) -> Call:
        keys = self._names.keys(feed.path)
        size = query.skip + query.size
        if among > 1:
            size = min(size, max(4, 4 * size // among))
        room = PAGE_BYTES // among if query.skip < query.size else 0
        args = (
            feed.bound, size, query.now, b"".join(query.tags), b"".join(query.nested), room, int(query.oldest_first),
        )  # fmt: skip
        return Call("item_page", (keys[ROWS], keys[ORDER], keys[VALUES]), args)

    def _with_values(self, found: Sequence[tuple[ItemRow, bool]]) -> Plan[Sequence[ItemRow]]:
        missing = [row.item for row, has_value in found if not has_value]
        fetched = (yield from self.fetch(missing)) if missing else {}
        rows = [row if has_value else fetched.get(row.item) for row, has_value in found]
        return [row for row in rows if row is not None]

    # ------------------------------------------------------------------- counts

    def spaces(self, prefix: bytes, now: int) -> Plan[Sequence[bytes]]:
        """Return the spaces that hold an item; see `ItemBackend.spaces`."""
        surveys = yield from self._surveys(prefix, now)
        return sorted(survey.path for survey in surveys if survey.items > survey.expired)

    def count(self, prefix: bytes, now: int) -> Plan[int]:
        """Count items; see `ItemBackend.count`."""
        surveys = yield from self._surveys(prefix, now)
        return sum(survey.items - survey.expired for survey in surveys)

    def usage(self, prefix: bytes = b"") -> Plan[ItemUsage]:
        """Count what items hold; see `ItemBackend.usage`."""
        surveys = yield from self._surveys(prefix, ALWAYS)
        return ItemUsage(sum(survey.items for survey in surveys), sum(survey.size for survey in surveys))

    def _surveys(self, prefix: bytes, now: int) -> Plan[list[Survey]]:
        """Return what each space below a prefix holds that holds an item."""
        paths = yield from self._list.below(prefix)
        found: list[Survey] = []
        vacant: list[bytes] = []
        for at in range(0, len(paths), AT_ONCE):
            some = paths[at : at + AT_ONCE]
            replies = yield from asked([self._survey_call(path, now) for path in some])
            for path, counts in zip(some, replies, strict=True):
                if counts[0]:
                    found.append(Survey(path, *counts))
                else:
                    vacant.append(path)
        yield from self._list.strike_vacant(vacant)
        return found

    def _survey_call(self, path: bytes, now: int) -> Call:
        keys = self._names.keys(path)
        return Call("item_survey", (keys[STATE], keys[ROWS], keys[ENDS]), (now,))

    # ----------------------------------------------------------------- removing

    def expire(self, now: int, size: int) -> Plan[int]:
        """Remove expired items; see `ItemBackend.expire`."""
        surveys = yield from self._surveys(b"", now)
        shares: list[tuple[bytes, int]] = []
        left = size
        for survey in surveys:
            share = min(survey.expired, left)
            if share > 0:
                shares.append((survey.path, share))
                left -= share
        removed = 0
        for at in range(0, len(shares), AT_ONCE):
            some = shares[at : at + AT_ONCE]
            replies = yield from asked(
                [
                    Call("item_expire", self._names.keys(path), (now, os.urandom(8), share), write=True)
                    for path, share in some
                ]
            )
            removed += sum(count for count, _ in replies)
            emptied = [(path, token) for (path, _), (_, token) in zip(some, replies, strict=True) if token]
            yield from self._list.strike(emptied)
        return removed

    def erase(self, prefix: bytes) -> Plan[int]:
        """Remove all items below a prefix; see `ItemBackend.erase`."""
        paths = yield from self._list.below(prefix)
        removed = 0
        for at in range(0, len(paths), AT_ONCE):
            some = paths[at : at + AT_ONCE]
            calls = [Call("item_erase", self._names.keys(path), (os.urandom(8),), write=True) for path in some]
            removed += sum(count for count, _ in (yield from asked(calls)))
            yield from self._list.strike_vacant(some)
        return removed


def asked(calls: Sequence[Call | Command]) -> Plan[list[Any]]:
    """Make calls, in one exchange with each server; raises what the first of those that were refused came to."""
    if len(calls) == 1:
        return [(yield calls[0])]
    replies: list[Any] = (yield Calls(calls)) if calls else []
    for reply in replies:
        if isinstance(reply, StoreCorrupt):
            raise reply
    return replies


def _ordered(feeds: Sequence[Feed], query: ItemQuery) -> list[tuple[ItemRow, bool]]:
    """Return what has come, in the order of the listing, but for what comes before its beginning."""
    found = sorted((place(row), row, has_value) for feed in feeds for row, has_value in feed.found)
    if query.oldest_first:
        found.reverse()
    is_behind = behind_last(query)
    return [(row, has_value) for at, row, has_value in found if is_behind(at)]

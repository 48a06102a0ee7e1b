"""The room that a SQLite file takes on the disk: how much there is, and how it is given back."""

from __future__ import annotations

import logging
from typing import Literal, NamedTuple

from charm_checkpoint.contract import Space
from charm_checkpoint.errors import StoreCorrupt
from charm_checkpoint.plan import Plan
from charm_checkpoint.stores.sqlite.steps import PAUSE, Sql, SqliteSteps

log = logging.getLogger("charm_checkpoint")

SPARE = 64
"""Free pages that a file keeps when room is given back: a quarter of a megabyte."""

SLICE = 64
"""Pages that are given back in one transaction: a millisecond or two."""

INCREMENTAL = 2
"""What ``PRAGMA auto_vacuum`` says of a file that can give back some of its room."""

_SIZES = """
    SELECT p.page_size, c.page_count, f.freelist_count, log_size()
    FROM pragma_page_size p, pragma_page_count c, pragma_freelist_count f"""
_UNCOUNTED = "SELECT key FROM thread WHERE kind = 0 AND counted IS NOT seq AND key > ? ORDER BY key LIMIT 1"


class Pages(NamedTuple):
    """How many pages a file has, and how large they and its log are; ``log`` is None of what is in RAM."""

    size: int
    number: int
    free: int
    log: int | None

    @property
    def spare(self) -> int:
        """Return how many pages could be given back."""
        return max(0, self.free - SPARE)

    def space(self) -> Space:
        """Return what this comes to in bytes."""
        kind: Literal["disk", "memory"] = "memory" if self.log is None else "disk"
        return Space(self.number * self.size + (self.log or 0), self.spare * self.size, kind)


def give_back(most: int | None = None, *, soft: bool = False, spare: int = SPARE) -> Plan[None]:
    """Give room that was freed back to the disk, so many pages at most, but for a little that the next writes need.

    It is done in transactions of some, the first of which may be under way; ``soft``: see `Sql`.
    """
    [[free]] = yield Sql("PRAGMA freelist_count", soft=soft)
    pages = free - spare if most is None else min(free - spare, most)
    for number in range(pages):
        if number and number % SLICE == 0:
            yield PAUSE
        # Whatever number it is given, it goes on by a page only as its rows are fetched; and Python, which
        # sees that they have no columns, fetches one.
        yield Sql("PRAGMA incremental_vacuum(1)", soft=soft)


class SqliteRoom(SqliteSteps):
    """Telling and giving back room."""

    def space(self) -> Plan[Space]:
        """Tell how much room the file takes, its log included; see `Backend.space`."""
        return (yield from _pages()).space()

    def compact(self, size: int | None) -> Plan[Space]:
        """Give room back, and count threads that nobody has counted; see `Backend.compact`.

        A file that was not made by charm_checkpoint, and cannot give back some of its room, is made anew if ``size`` is
        None: nobody else can write meanwhile. Otherwise nothing is given back of such a file.
        """
        [[kind]] = yield Sql("PRAGMA auto_vacuum")
        pages = yield from _pages()
        if kind == INCREMENTAL:
            yield from give_back(None if size is None else max(1, size // pages.size))
        elif size is None and pages.log is not None:
            yield from _make_anew()
        yield from self._count_some(size)
        if (yield from _pages()).spare == 0:
            yield Sql("PRAGMA wal_checkpoint(TRUNCATE)", outside=True)
        return (yield from _pages()).space()

    def _count_some(self, size: int | None) -> Plan[None]:
        """Count threads of which is not known how much they hold, until they come to so many bytes."""
        left, last = size, 0
        while left is None or left > 0:
            yield PAUSE
            rows = yield Sql(_UNCOUNTED, (last,))
            if not rows:
                return
            [[last]] = rows
            try:
                counted = yield from self._count(last, outside=True)
            except StoreCorrupt:
                counted = 0  # its readers are told
            left = None if left is None else left - counted - 1


def _pages() -> Plan[Pages]:
    [row] = yield Sql(_SIZES)
    return Pages(*row)


def _make_anew() -> Plan[None]:
    """Write the whole file anew, so that it can give back room from then on."""
    log.info("The file is written anew as a whole, because it cannot give back a part of its room; writers wait.")
    yield Sql(f"PRAGMA auto_vacuum = {INCREMENTAL}", outside=True)
    yield Sql("VACUUM", outside=True)

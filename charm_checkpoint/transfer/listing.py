"""Which threads there are: those of a source, as their own records tell of them, and the names of a target's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any

from charm_checkpoint.contract import ThreadPage, ThreadRow
from charm_checkpoint.errors import StoreCorrupt
from charm_checkpoint.plan import Plan
from charm_checkpoint.store import Store
from charm_checkpoint.transfer.hops import Hop, Moving
from charm_checkpoint.transfer.walking import parts

LISTED = 500
"""Threads listed at a time."""
ROUNDS = 4
"""How often a listing begins again, to find threads that changed meanwhile and so moved to its front."""
MORE = 4
"""How many more threads than were to be copied so far a target is listed of, to know which it has not."""


class Rows:
    """The threads of a store, or those that are named, as their own records tell of them."""

    def __init__(self, store: Store, named: Iterable[str] | None) -> None:
        self._store = store
        self._named = None if named is None else dict.fromkeys(named)
        self._seen: set[str] = set()
        self._fresh = self._more = True
        self._after: Any = None

    def parts(self) -> Iterator[Moving[list[ThreadRow]]]:
        """Yield what returns the next threads, until none is left that was not returned."""
        one = getattr(self._store.backend, "thread_row", None)
        if self._named is not None and one is not None:
            for names in parts(list(self._named), LISTED):
                yield self._each(one, names)
            return
        for number in range(ROUNDS):
            self._fresh, self._more, self._after = False, True, None
            pages = 0
            while self._more and not self._is_done():
                yield self._page(again=number > 0)
                pages += 1
            if not self._fresh or pages < 2 or self._is_done():
                break

    def missing(self) -> list[str]:
        """Return which of the threads that are named are not there."""
        return [] if self._named is None else [name for name in self._named if name not in self._seen]

    def _is_done(self) -> bool:
        return self._named is not None and not self.missing()

    def _each(self, one: Callable[[str], Plan[ThreadRow | None]], names: Iterable[str]) -> Moving[list[ThreadRow]]:
        found: list[ThreadRow | None] = []
        for name in names:
            try:
                found.append((yield Hop(self._store, partial(one, name), name)))
            except StoreCorrupt as error:
                found.append(ThreadRow(name, damage=str(error)))
        self._seen.update(row.thread for row in found if row is not None and row.thread is not None)
        return [row for row in found if row is not None]

    def _page(self, again: bool) -> Moving[list[ThreadRow]]:
        page: ThreadPage = yield Hop(self._store, partial(self._store.backend.threads, self._after, LISTED))
        fresh = [row for row in page.items if self._is_wanted(row, again)]
        self._seen.update(row.thread for row in fresh if row.thread is not None)
        self._fresh = self._fresh or bool(fresh)
        self._after = page.next
        # The listing begins with what changed last: of a later one no more is looked at than is new.
        self._more = page.next is not None and (bool(fresh) or not again)
        return fresh

    def _is_wanted(self, row: ThreadRow, again: bool) -> bool:
        if row.thread is None:
            return self._named is None and not again
        return row.thread not in self._seen and (self._named is None or row.thread in self._named)


class Names:
    """Which threads a target was seen not to have, once it is listed to its end: then nobody need ask for each.

    It is of the moment of the listing, and what changes meanwhile may be missed in it: who builds on it has to notice.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._seen: set[int] = set()  # hashes: where two are the same, one thread is asked for in vain
        self._after: Any = None
        self._more = True

    def listed(self, wanted: int) -> Moving[None]:
        """List on, as far as is worth it for so many threads that are to be copied in all."""
        with suppress(StoreCorrupt):  # then each is asked for
            while self._more and len(self._seen) <= MORE * wanted:
                page: ThreadPage = yield Hop(self._store, partial(self._store.backend.threads, self._after, LISTED))
                self._seen.update(hash(row.thread) for row in page.items if row.thread is not None)
                self._after, self._more = page.next, page.next is not None

    def lacks(self, thread: str) -> bool:
        """Tell whether a thread was not there."""
        return not self._more and hash(thread) not in self._seen

    def ask_for(self, thread: str) -> None:
        """Have a thread be asked for: somebody made it since, or it was missed."""
        self._seen.add(hash(thread))

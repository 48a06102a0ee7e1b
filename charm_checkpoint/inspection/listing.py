"""Threads that are looked for: filters, orders, and where to go on; no value is read.

A listing goes through what the store lists, a page at a time. An order other than the store's is made here: of all
that are there only so many are held as are wanted.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

from charm_checkpoint.contract import Backend, ThreadPage, capabilities
from charm_checkpoint.errors import ConfigError
from charm_checkpoint.inspection.cursors import cursor, digest, place_of
from charm_checkpoint.saver.refs import limited
from charm_checkpoint.saver.threads import Status, ThreadInfo, ThreadListing

Order: TypeAlias = Literal["activity", "size", "checkpoints", "id"]

STATUSES: dict[str, Status] = {
    "done": "done",
    "idle": "done",
    "waits": "waits",
    "waiting": "waits",
    "failed": "failed",
    "unfinished": "unfinished",
}
"""What may be asked for as a status, and what it is called in a `ThreadInfo`."""

SPARE = 1000
"""Threads beyond those wanted that are held before they are put in order."""


class Wanted(NamedTuple):
    """Which threads are wanted. Times are seconds since 1970."""

    status: frozenset[str] | None = None
    search: str | None = None
    since: float | None = None
    until: float | None = None
    pinned: bool | None = None

    def fits(self, info: ThreadInfo) -> bool:
        """Tell whether a thread is wanted."""
        return (
            (self.status is None or info.status in self.status)
            and (self.pinned is None or info.pinned is self.pinned)
            and (self.search is None or self._says(info, self.search))
            and (self.since is None or (info.updated_at is not None and at_of(info) >= self.since))
            and (self.until is None or (info.updated_at is not None and at_of(info) <= self.until))
        )

    def _says(self, info: ThreadInfo, text: str) -> bool:
        return any(text in (held or "").casefold() for held in (info.thread_id, info.title))


def at_of(info: ThreadInfo) -> int:
    """Return when a thread changed last, in seconds since 1970; 0 if nobody knows."""
    return 0 if info.updated_at is None else int(info.updated_at.timestamp())


def wanted(status: Any, search: Any, since: Any, until: Any, pinned: Any = None) -> Wanted:
    """Return what is looked for; raises `ConfigError` for what nobody can look for."""
    if search is not None and not isinstance(search, str):
        raise ConfigError(f"search is a text to look for, not {type(search).__name__}")
    if pinned is not None and type(pinned) is not bool:
        raise ConfigError(f"pinned is True, False or None for all, not {type(pinned).__name__}")
    return Wanted(
        None if status is None else frozenset(_statuses(status)),
        search.casefold() if search else None,
        _seconds(since, "since"),
        _seconds(until, "until"),
        pinned,
    )


def _statuses(given: Any) -> Iterator[str]:
    if not isinstance(given, (str, Collection)):
        raise ConfigError(f"status is one of {', '.join(STATUSES)}, or several of them, not {type(given).__name__}")
    for name in [given] if isinstance(given, str) else given:
        if name not in STATUSES:
            raise ConfigError(f"status is one of {', '.join(STATUSES)}, or several of them, not {name!r}")
        yield STATUSES[name]


def _seconds(time: Any, what: str) -> float | None:
    if time is None:
        return None
    if not isinstance(time, datetime):
        raise ConfigError(f"{what} is a datetime, not {type(time).__name__}")
    try:
        return time.timestamp()
    except (ValueError, OverflowError, OSError):  # at an end of what a datetime can tell, where hours matter to nobody
        return time.replace(tzinfo=timezone.utc).timestamp()


class Listing:
    """A listing of threads in the store's order, of which some are wanted; driven as `ThreadListing` is."""

    def __init__(self, backend: Backend, limit: int | None, wanted: Wanted, after: str | None) -> None:
        self._wanted = wanted
        self._is_ordered = capabilities(backend).latest_first
        self._skipped = None if after is None else _Skipped(*place_of("activity", after, 2))
        is_all = wanted == Wanted() and after is None
        self._listing = ThreadListing(backend, limit if is_all else None)
        self._left = limit
        self.next_page = self._listing.next_page

    @property
    def more(self) -> bool:
        """Whether there is another page."""
        return self._listing.more and self._left != 0

    def take(self, page: ThreadPage) -> Iterator[ThreadInfo]:
        """Yield what of a page is wanted."""
        infos: Iterable[ThreadInfo] = list(self._listing.take(page))
        if self._skipped is not None:
            infos = self._skipped.rest(infos, is_last=not self._listing.more)
        for info in infos:
            if self._left == 0:
                return
            if self._is_past(info):
                self._listing.skip_rest()
                return
            if self._wanted.fits(info):
                if self._left is not None:
                    self._left -= 1
                yield replace(info, cursor=_activity(info)) if self._is_ordered else info

    def _is_past(self, info: ThreadInfo) -> bool:
        """Tell whether all that comes is too old."""
        since = self._wanted.since
        return since is not None and self._is_ordered and info.updated_at is not None and at_of(info) < since


class _Skipped:
    """Leaves out what comes before a place in a listing, the latest first, and the thread at that place.

    Of those that changed in its second, what stands before it goes; all are kept if it is no longer among them.
    """

    def __init__(self, at: int, name: bytes) -> None:
        self._at = at
        self._name = name
        self._held: list[ThreadInfo] = []

    def rest(self, infos: Iterable[ThreadInfo], is_last: bool) -> Iterator[ThreadInfo]:
        """Yield what comes behind the place."""
        for info in infos:
            at = at_of(info)
            if at == self._at:
                self._held = [] if digest(info.thread_id) == self._name else [*self._held, info]
            elif at < self._at:
                yield from self._released()
                yield info
        if is_last:
            yield from self._released()

    def _released(self) -> list[ThreadInfo]:
        held, self._held = self._held, []
        return held


def _activity(info: ThreadInfo) -> str:
    return cursor("activity", at_of(info), digest(info.thread_id))


Key: TypeAlias = "tuple[Any, ...]"

KEYS: dict[str, Callable[[ThreadInfo], Key]] = {
    "activity": lambda info: (-at_of(info), digest(info.thread_id)),
    "size": lambda info: (1 if info.size is None else -info.size, -at_of(info), digest(info.thread_id)),
    "checkpoints": lambda info: (-info.checkpoints, -at_of(info), digest(info.thread_id)),
    "id": lambda info: (info.thread_id is None, (info.thread_id or "").encode("utf-8", "surrogatepass")),
}
"""What the orders go by: the smallest comes first. A size that nobody has counted comes last."""


class SortedListing:
    """A listing of threads in an order that is made here; driven as `ThreadListing` is."""

    def __init__(self, backend: Backend, limit: int | None, wanted: Wanted, after: str | None, order: Order) -> None:
        self._key = KEYS[order]
        self._order = order
        self._after = None if after is None else tuple(place_of(order, after, len(self._key(ThreadInfo(None)))))
        self._wanted = wanted
        self._limit = limit
        self._found: list[tuple[Key, ThreadInfo]] = []
        self._listing = ThreadListing(backend, None if limit != 0 else 0)
        self.next_page = self._listing.next_page

    @property
    def more(self) -> bool:
        """Whether there is another page."""
        return self._listing.more

    def take(self, page: ThreadPage) -> Iterator[ThreadInfo]:
        """Look through a page; after the last, yield what is wanted."""
        for info in self._listing.take(page):
            if self._wanted.fits(info):
                key = self._key(info)
                if self._after is None or key > self._after:
                    self._found.append((key, info))
        if self._limit is not None and len(self._found) > self._limit + SPARE:
            self._settle()
        if not self.more:
            self._settle()
            yield from (replace(info, cursor=cursor(self._order, *key)) for key, info in self._found)

    def _settle(self) -> None:
        self._found.sort(key=lambda item: item[0])
        self._found = self._found[: self._limit]


def listing(
    backend: Backend,
    limit: Any,
    status: Any,
    search: Any,
    pinned: Any,
    order: Any,
    since: Any,
    until: Any,
    after: Any,
) -> Listing | SortedListing:
    """Return the listing that is asked for; raises `ConfigError` for what none can be."""
    if order is not None and order not in get_args(Order):
        raise ConfigError(f"order is one of {', '.join(get_args(Order))}, not {order!r}")
    which = wanted(status, search, since, until, pinned)
    if order in (None, "activity") and (capabilities(backend).latest_first or (order is None and after is None)):
        return Listing(backend, limited(limit), which, after)
    return SortedListing(backend, limited(limit), which, after, order or "activity")

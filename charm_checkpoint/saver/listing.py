"""A listing of checkpoints under way, as `CharmSaver.list` and `CharmSaver.alist` both go through it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import CheckpointTuple

from charm_checkpoint.contract import Query
from charm_checkpoint.plan import Plan
from charm_checkpoint.runtime.clock import monotonic
from charm_checkpoint.saver.filters import Filter
from charm_checkpoint.saver.reads import Reads, log
from charm_checkpoint.saver.records import NOT_TAGGED
from charm_checkpoint.saver.refs import limited, named

if TYPE_CHECKING:
    from charm_checkpoint.saver.plans import SaverPlans
    from charm_checkpoint.store import Store

PAGE = 50
"""Checkpoints read at a time by `CharmSaver.list`."""
SLOW = 1.0
"""Seconds that a listing of all threads may take to find few checkpoints before it says why."""


class Listing:
    """A listing under way, a page at a time: nothing is held open between pages."""

    hinted = False

    def __init__(
        self,
        config: RunnableConfig | None,
        filter: Mapping[str, Any] | None,
        before: RunnableConfig | None,
        limit: int | None,
        values: bool = True,
    ) -> None:
        self._values = values
        self._filter = Filter(filter, NOT_TAGGED)
        self._after: Any = None
        self._left = limited(limit)
        self._found = 0
        self._spent = 0.0
        self.size = PAGE if limit is None else min(PAGE, limit)
        self.thread, ns, id = named(config)
        bound = named(before)
        within = bound.thread if self.thread is None else self.thread
        self._query = Query(self.thread, ns, id, bound.id, within, self._filter.tags, self._filter.nested)

    def next_page(self, reads: Reads) -> partial[Plan[tuple[list[CheckpointTuple], Any]]]:
        """Return the plan of the next page."""
        self._spent -= monotonic()
        page = reads.page if self._values else reads.outlines
        return partial(page, self._query, self._filter, self._after, self.size)

    def take(self, page: tuple[list[CheckpointTuple], Any]) -> list[CheckpointTuple]:
        """Return what of a page is wanted still; ``size`` becomes 0 at the end."""
        tuples, self._after = page
        self._spent += monotonic()
        self._found += len(tuples)
        self._hint()
        if self._left is not None:
            tuples = tuples[: self._left]
            self._left -= len(tuples)
        if self._after is None or self._left == 0:
            self.size = 0
        return tuples

    def _hint(self) -> None:
        """Say once in a process why a listing that looks for few checkpoints among all threads takes long."""
        if self._query.thread is None and self._spent > SLOW and self._found < PAGE and not Listing.hinted:
            Listing.hinted = True
            log.warning(
                "A listing of all threads took %.1f s and found %d checkpoints so far: it looks through every thread. "
                "Name a thread, or filter by values that are equal, which stores look up; what operators such as $gt, "
                "$ne or $exists ask for, and None, is compared one by one.",
                self._spent,
                self._found,
            )


class Lists:
    """The part of a saver that lists checkpoints."""

    _store: Store
    _plans: SaverPlans

    def list(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
        values: bool = True,
    ) -> Iterator[CheckpointTuple]:
        """Yield checkpoints, last committed first; with no config, of all threads.

        ``filter`` asks for metadata, see charm_checkpoint.saver.filters; ``before`` is exclusive. What is wrong
        with either is told at once; each page is read when it is asked for.

        With ``values=False`` each has the versions of its channels and its pending writes as ever, but
        ``channel_values`` is empty: nothing of the state is read or decoded, however large it is.
        """
        return self._pages(Listing(config, filter, before, limit, values))

    def _pages(self, listing: Listing) -> Iterator[CheckpointTuple]:
        while listing.size:
            yield from listing.take(
                self._store.run(listing.next_page(self._plans.reads), write=False, thread=listing.thread)
            )

    def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
        values: bool = True,
    ) -> AsyncIterator[CheckpointTuple]:
        """Yield checkpoints, last committed first; see `list`."""
        return self._apages(Listing(config, filter, before, limit, values))

    async def _apages(self, listing: Listing) -> AsyncIterator[CheckpointTuple]:
        while listing.size:
            for item in listing.take(
                await self._store.arun(listing.next_page(self._plans.reads), write=False, thread=listing.thread)
            ):
                yield item

"""A copy from one store to another, thread by thread, several at once where a store is at the end of a network."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

from charm_checkpoint.contract import ThreadRow
from charm_checkpoint.errors import ThreadExists
from charm_checkpoint.saver.threads import is_staging
from charm_checkpoint.store import Store
from charm_checkpoint.transfer.following import Moved
from charm_checkpoint.transfer.hops import AtOnce, Moving, tidily
from charm_checkpoint.transfer.listing import Names, Rows
from charm_checkpoint.transfer.reading import DAMAGED, Changed
from charm_checkpoint.transfer.report import MoveProgress, Place, Tally
from charm_checkpoint.transfer.staging import Staging, stagings
from charm_checkpoint.transfer.thread_copy import Mismatch, OneCopy
from charm_checkpoint.transfer.writing import Disturbed


@dataclass(frozen=True)
class Wanted:
    """What is to be copied, and how."""

    threads: Collection[str] | None = None
    messages: bool = True
    items: bool = True
    skip_existing: bool = False
    dry_run: bool = False
    verify: bool = True
    on_progress: Callable[[MoveProgress], None] | None = None


class ThreadCopy:
    """A copy of threads under way. ``blank`` says that the target is known to hold nothing yet, and is not asked."""

    def __init__(
        self, source: Store, target: Store, origin: str, wanted: Wanted, tally: Tally, *, blank: bool = False
    ) -> None:
        self._source, self._target = source, target
        self._wanted = wanted
        self._tally = tally
        self._blank = blank
        self._names = Names(target)
        self._stagings = stagings(source, target, origin)
        self._done = 0

    def read_from(self, source: Store) -> None:
        """Go on with the threads of another source."""
        self._source = source

    def all(self) -> Moving[None]:
        """Copy all threads that are wanted."""
        yield from tidily(self._all(), self._target, self.give_up)

    def _all(self) -> Moving[None]:
        rows, count = Rows(self._source, self._wanted.threads), 0
        for part in rows.parts():
            found = [row for row in (yield from part) if not is_staging(row.thread)]
            count += len(found)
            yield from self.look_ahead(count)
            yield from self._take_all(found)
        for name in rows.missing():
            self._tally.damaged.append(Place("the source has no such thread", name))
        if self._done:  # else nothing is in the target that was not there before, which may be no store yet
            yield from self.finish()

    def look_ahead(self, count: int) -> Moving[None]:
        """See which of so many threads the target has not, if that is less work than to ask for each."""
        if self._wanted.threads is None and not self._blank:
            yield from self._names.listed(count)

    def _take_all(self, rows: Sequence[ThreadRow]) -> Moving[None]:
        """Copy threads, several at once if that is quicker."""
        left = iter(rows)
        works = [self._take_from(left, staging) for staging in self._stagings[: len(rows)]]
        if len(works) > 1:
            yield AtOnce(works)
        else:
            for work in works:
                yield from work

    def _take_from(self, rows: Iterator[ThreadRow], staging: Staging) -> Moving[None]:
        for row in rows:
            yield from self.take(row, staging)

    def take(self, row: ThreadRow, staging: Staging | None = None) -> Moving[None]:
        """Copy one thread, or say in the report why not."""
        thread = row.thread
        if row.damage is not None or thread is None:
            self._tally.damaged.append(Place(row.damage or "it has no name", thread))
            return
        made = Tally()
        try:
            changed = yield from self._take(row, thread, staging or self._stagings[0], made)
            made.threads, made.unchanged = int(changed), int(not changed)
        except ThreadExists as error:
            if self._wanted.skip_existing:
                made.skipped.append(thread)
            else:
                made.refused.append(Place(str(error), thread))
        except (Disturbed, Moved, Changed) as error:
            made.moving.append(Place(str(error) or str(Moved()), thread))
        except (*DAMAGED, Mismatch) as error:
            made.damaged.append(Place(str(error), thread))
        self._tally.add(made)
        self._done += 1
        self._tell(thread)

    def _take(self, row: ThreadRow, thread: str, staging: Staging, made: Tally) -> Moving[bool]:
        there = False if self._blank else None if self._names.lacks(thread) else True
        copy = OneCopy(self._source, self._target, self._wanted, row, thread, staging, made, self._tell)
        try:
            return (yield from copy.copy(there))
        except (ThreadExists, Disturbed):
            if there is not None:
                raise
        self._names.ask_for(thread)  # it has come since the target was listed
        made.damaged.clear()
        return (yield from copy.copy(True))

    def finish(self) -> Moving[None]:
        """Leave no trace of the other names, what a copy left that was killed included."""
        if not self._wanted.dry_run:
            for staging in self._stagings:
                yield from staging.remove()

    def give_up(self) -> Moving[None]:
        """Do what `finish` does, if the other names were used at all."""
        if any(staging.is_used for staging in self._stagings):
            yield from self.finish()

    def _tell(self, thread: str, checkpoints: int = 0) -> None:
        if self._wanted.on_progress is not None:
            total = None if self._wanted.threads is None else len(self._wanted.threads)
            self._wanted.on_progress(MoveProgress("threads", self._done, total, thread, checkpoints))

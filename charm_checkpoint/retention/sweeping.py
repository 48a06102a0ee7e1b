"""A sweep: all threads of a store, or those that are named, brought to what a policy keeps.

It is a session (see session.py): one bounded transaction after another, and nothing is held in between. What
is done when it is interrupted stays done, and the next sweep goes on: threads that hold no more than the policy keeps
are passed over by their rows alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, TypeAlias

from charm_checkpoint.checking.rows import the_row
from charm_checkpoint.config.retention import Retention
from charm_checkpoint.contract import ThreadPage, ThreadRow, Usage
from charm_checkpoint.errors import StoreCorrupt
from charm_checkpoint.retention.estimate import estimated
from charm_checkpoint.retention.outlines import Candidates
from charm_checkpoint.retention.pruning import Pruned, Tools, prune
from charm_checkpoint.retention.reports import Amount, SpaceReport, SweepReport, ThreadProblem
from charm_checkpoint.saver.threads import info, is_staging
from charm_checkpoint.saver.unfinished import ABANDONED
from charm_checkpoint.session import Session, Step

PAGE = 200
"""Threads that are listed in one transaction."""
BEHIND = 60
"""Seconds that a thread's time of change may be behind; see `ThreadRow.touched_at`."""

Gone: TypeAlias = Callable[[str, bool], None]
"""Is told of each thread of which something went, and whether all of it did."""
OnProgress: TypeAlias = Callable[[SweepReport], object]


def now() -> float:
    """Return the date that ages are told by, in seconds since 1970; a test may set another one here."""
    return time.time()


class Sweep:
    """One sweep under way."""

    def __init__(
        self,
        tools: Tools,
        policy: Retention,
        now: float,
        gone: Gone,
        *,
        dry_run: bool = False,
        threads: Sequence[str] | None = None,
        on_progress: OnProgress | None = None,
        measured: bool = True,
    ) -> None:
        self._tools = tools
        self._backend = tools.backend
        self._policy = policy
        self._now = now
        self._gone = gone
        self._threads = threads
        self._on_progress = on_progress
        self._measured = measured
        self._seen: set[str] = set()
        self.place: Any = None
        """Where another program goes on behind the last page."""
        self.report = SweepReport(dry_run=dry_run)

    def session(self) -> Session[SweepReport]:
        """Do it all; what is done by then is in ``report`` at any time."""
        before = SpaceReport.of((yield Step(self._backend.space)))
        self.report = replace(self.report, before=before)
        if self._threads is None:
            yield from self._all()
        else:
            for thread in self._threads:
                yield from self.one((yield from the_row(self._backend, thread)))
        if not self.report.dry_run:
            yield from self.forget()
        self.report = replace(self.report, after=SpaceReport.of((yield Step(self._backend.space))))
        return self.report

    def _all(self) -> Session[None]:
        after = None
        while (after := (yield from self.page(after, PAGE))) is not None:
            pass

    def page(self, after: Any, size: int) -> Session[Any]:
        """Do the next threads of a listing; return where to go on, None at the end."""
        page: ThreadPage = yield Step(partial(self._backend.threads, after, size))
        for row in page.items:
            yield from self.one(row)
        self.place = page.next if page.place is None else page.place
        return page.next

    def forget(self) -> Session[None]:
        """Remove what is remembered of erased threads for long enough."""
        forgotten = yield Step(partial(self._backend.forget_erased, int(self._now)), write=True)
        self.report = replace(self.report, forgotten=forgotten)

    def one(self, row: ThreadRow) -> Session[None]:
        """Do what is to be done of one thread; one that is damaged is told, and hinders nothing."""
        if row.thread is not None and is_staging(row.thread):
            yield from self._unfinished(row, row.thread)
            return
        if row.thread is not None and row.thread in self._seen:
            return  # it changed, and so is listed once more
        self._seen.add(row.thread or "")
        self.report = replace(self.report, looked_at=self.report.looked_at + 1)
        if row.damage is not None or row.thread is None:
            self._problem(row.thread, row.damage or "its name cannot be read")
        elif row.pinned and self._policy.keep_pinned:
            if self._is_idle(row) or self._policy.may_have_too_many(row.checkpoints):
                self.report = replace(self.report, kept_pinned=self.report.kept_pinned + 1)
        else:
            try:
                yield from self._sound(row, row.thread)
            except StoreCorrupt as error:
                self._problem(row.thread, str(error))
        if self._on_progress is not None:
            self._on_progress(self.report)

    def _unfinished(self, row: ThreadRow, thread: str) -> Session[None]:
        """Erase what a copy was putting together, unless it may still be at it."""
        since = self._long_before(ABANDONED)
        if not 0 < row.touched_at <= since or row.pinned or thread in self._seen:
            return
        self._seen.add(thread)
        try:
            gone = yield from self._erase(thread, since)
        except StoreCorrupt as error:
            self._problem(thread, str(error))
        else:
            self.report = replace(self.report, unfinished=self.report.unfinished + gone.threads)

    def _problem(self, thread: str | None, reason: str) -> None:
        self.report = replace(self.report, damaged=(*self.report.damaged, ThreadProblem(thread, reason)))

    def _sound(self, row: ThreadRow, thread: str) -> Session[None]:
        if self._is_idle(row):
            if not (yield from self._waits(row, thread)):
                gone = yield from self._erase(thread, self._idle_since)
                self.report = replace(self.report, idle=self.report.idle + gone)
                return
            self.report = replace(self.report, kept_waiting=self.report.kept_waiting + 1)
        if not self._policy.may_have_too_many(row.checkpoints):
            return
        if self.report.dry_run:
            self._add(Pruned((yield from estimated(self._tools, row, self._policy, self._now))))
            return
        pruned = yield from prune(self._tools, thread, self._policy, self._now, self._measured)
        if pruned.done.checkpoints:
            self._gone(thread, False)
        if pruned.busy:
            self.report = replace(self.report, busy=(*self.report.busy, thread))
        self._add(pruned)

    def _add(self, pruned: Pruned) -> None:
        report = self.report
        self.report = replace(report, planned=report.planned + pruned.planned, done=report.done + pruned.done)

    # ---------------------------------------------------------------------------------------------------- idle threads

    def _is_idle(self, row: ThreadRow) -> bool:
        return self._policy.idle is not None and 0 < row.touched_at <= self._idle_since

    @property
    def _idle_since(self) -> int:
        """Return the second since which nothing was written to a thread that is idle."""
        return self._long_before(self._policy.idle or 0.0)

    def _long_before(self, seconds: float) -> int:
        return int(self._now - seconds) - BEHIND

    def _waits(self, row: ThreadRow, thread: str) -> Session[bool]:
        """Tell whether an idle thread waits for an answer, or at a breakpoint, and stays for that.

        Its note is of what was written last: an error of one task, say, beside the question of another. LangGraph
        writes nothing of a breakpoint, so a run that is not at its end may wait at one.
        """
        if not self._policy.keep_interrupted or row.head is None:
            return False
        if info(row).status in ("waits", "unfinished"):
            return True
        outlines = Candidates(self._backend, self._tools.serde, thread, last=1, times=False, limits=self._tools.limits)
        waits: bool = yield Step(partial(outlines.waits, "", None), thread)
        return waits

    def _erase(self, thread: str, since: int) -> Session[Amount]:
        """Erase a thread to which nothing was written since; return what goes, or went."""
        if self.report.dry_run:
            usage: Usage = yield Step(partial(self._backend.usage, thread), thread)
            return self._erased(usage, Amount())
        until = int(self._now + float(self._policy.remember)) if self._policy.remember else 0
        erase = partial(self._backend.erase_thread, thread, until, since)
        usage = yield Step(erase, thread, write=True)
        if usage.threads or usage.damaged:
            self._gone(thread, True)
            return self._erased(usage, amount_of(usage))
        return Amount()

    def _erased(self, usage: Usage, done: Amount) -> Amount:
        self._add(Pruned(amount_of(usage), done))
        return amount_of(usage)


def amount_of(usage: Usage) -> Amount:
    """Return what a store counted as an amount."""
    return Amount(usage.threads, usage.checkpoints, usage.chunks, usage.payload_bytes)

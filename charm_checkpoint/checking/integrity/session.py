"""A look at everything that a store holds, thread by thread, and the repairs that lose nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from typing import NamedTuple, TypeAlias

from charm_checkpoint.checking.integrity.items import look_at_items
from charm_checkpoint.checking.integrity.own import Count, own_checks, recount, recounts
from charm_checkpoint.checking.integrity.repair import is_unsure, mend
from charm_checkpoint.checking.integrity.report import Findings, IntegrityFinding, IntegrityProgress, IntegrityReport
from charm_checkpoint.checking.integrity.threads import ATTEMPTS, ThreadLook
from charm_checkpoint.checking.integrity.tools import Tools
from charm_checkpoint.checking.rows import row_of
from charm_checkpoint.contract import TellsThreads, ThreadRow, ThreadState, Usage
from charm_checkpoint.errors import StoreCorrupt
from charm_checkpoint.saver.threads import ThreadListing
from charm_checkpoint.saver.unfinished import Unfinished
from charm_checkpoint.session import Session, Step
from charm_checkpoint.store import Store

OnProgress: TypeAlias = Callable[[IntegrityProgress], object]


def look(
    store: Store,
    threads: Iterable[str] | None = None,
    repair: bool = False,
    on_progress: OnProgress | None = None,
) -> Session[IntegrityReport]:
    """Look at all that a store holds, or at some of its threads, and return what was found; see `Memory.check`."""
    return (yield from _Look(store, threads, repair, on_progress).look())


class _Seen(NamedTuple):
    """One look at a thread: its state before, and how much the store counts of it; None if it cannot."""

    look: ThreadLook
    state: ThreadState
    usage: Usage | None


class _Look:
    def __init__(
        self, store: Store, threads: Iterable[str] | None, repair: bool, on_progress: OnProgress | None
    ) -> None:
        self._tools = Tools.of(store)
        self._named = None if threads is None else dict.fromkeys(threads)
        self._repair = repair
        self._on_progress = on_progress
        self._report = IntegrityReport(is_whole=threads is None)
        self._findings = Findings(self._report)

    def look(self) -> Session[IntegrityReport]:
        self._tell()
        if self._named is None:
            yield from self._add_all(own_checks(self._tools.store, self._repair))
        yield from self._all_threads()
        if self._named is None:
            yield from look_at_items(self._tools, self._findings, self._tell)
        return self._report

    def _add_all(self, findings: Session[list[IntegrityFinding]]) -> Session[None]:
        for found in (yield from findings):
            self._findings.add(found)

    def _all_threads(self) -> Session[None]:
        wanted = self._named
        if wanted is not None and isinstance(self._tools.backend, TellsThreads):
            yield from self._named_threads(wanted, self._tools.backend)
            return
        listing, unfinished = ThreadListing(self._tools.backend, None), Unfinished()
        while listing.more and (wanted is None or wanted):
            try:
                page = yield Step(listing.next_page)
            except StoreCorrupt as error:
                self._findings.add(IntegrityFinding("store", f"its threads cannot be listed: {error}", advice=_STORE))
                break
            unfinished.add(page.items)
            for row in listing.take_rows(page):
                if wanted is None or row.thread in wanted:
                    yield from self._thread_of(row)
                if wanted is not None and row.thread is not None:
                    wanted.pop(row.thread, None)
        if unfinished and wanted is None:
            self._findings.add(IntegrityFinding("thread", unfinished.told(), "note", advice=unfinished.advice()))
        for thread in list(wanted or ()):  # what is not listed may be there all the same
            yield from self._thread(thread, None)

    def _named_threads(self, wanted: Iterable[str], backend: TellsThreads) -> Session[None]:
        """Look at these threads alone, whether their records are found or not: nobody need list the others."""
        for thread in wanted:
            try:
                row: ThreadRow | None = yield Step(partial(backend.thread_row, thread), thread)
            except StoreCorrupt as error:
                row = ThreadRow(thread, damage=str(error))
            yield from self._thread(thread, None) if row is None else self._thread_of(row)

    def _thread_of(self, row: ThreadRow) -> Session[None]:
        if row.damage is not None:
            self._findings.begin()
            self._findings.add(
                IntegrityFinding("thread", f"it cannot be read: {row.damage}", thread=row.thread, advice=_ADVICE)
            )
        if row.thread is None:
            self._report.threads += 1
        elif row.damage is None:
            yield from self._thread(row.thread, row)
        else:
            self._report.threads += 1

    def _thread(self, thread: str, row: ThreadRow | None) -> Session[None]:
        seen, is_settled = yield from self._settled(thread)
        counted: list[IntegrityFinding] = []
        if is_settled and row is not None and seen.usage is not None:
            counted = yield from self._size(thread, row, seen)
        found = [*seen.look.findings, *seen.look.messages.findings, *counted]
        if not is_settled:
            found = [IntegrityFinding("busy", _BUSY, "note", thread, advice="Look at it again.")]
        if is_settled and seen.usage is not None:
            found += self._waste(seen)
        if self._repair and is_settled:
            found = yield from mend(self._tools, seen.look, seen.state, found)
        self._findings.begin()
        for each in found:
            self._findings.add(each)
        self._count(seen)

    def _settled(self, thread: str) -> Session[tuple[_Seen, bool]]:
        """Look at a thread until nothing was removed from it meanwhile; tell whether that came off."""
        for _ in range(ATTEMPTS):
            seen = yield from self._once(thread)
            now = yield from seen.look.state_now()
            if now is None or now == seen.state:
                return seen, True
            if now[:2] == seen.state[:2] and not any(found.grade == "damage" for found in seen.look.findings):
                return seen._replace(usage=None), True  # something came on top: the counts have moved
        return seen, False

    def _once(self, thread: str) -> Session[_Seen]:
        look, usage = ThreadLook(self._tools, thread), None
        state = yield from look.look()
        try:
            usage = yield Step(partial(self._tools.backend.usage, thread), thread)
        except StoreCorrupt as error:
            if not look.findings:
                look.tell("thread", f"how much it holds cannot be counted: {error}")
        if usage is not None and not usage.damaged:
            look.compare(usage)
        return _Seen(look, state, None if usage is None or usage.damaged else usage)

    def _size(self, thread: str, row: ThreadRow, seen: _Seen) -> Session[list[IntegrityFinding]]:
        """Compare what is kept up to date on the thread's record with what is there."""
        look, usage = seen.look, seen.usage
        if usage is None or is_unsure(look) or any(found.kind == "head" for found in look.findings):
            return []  # nobody has seen all that is counted: a listing begins at the head
        is_left = usage.writes != look.writes or self._unreached(seen) > 0
        if is_left and row.checkpoints <= look.checkpoints:
            return []  # what is left over is counted, too
        size = look.size + look.reached.size
        if _agrees(row, look, size):
            return []
        fresh = yield from row_of(self._tools.backend, thread)
        now = yield from look.state_now()
        if fresh is None or now != seen.state or _agrees(fresh, look, size):
            return []  # the row was of another moment
        message = (
            f"its record counts {fresh.checkpoints:,} checkpoints and {fresh.size or 0:,} bytes, and there are "
            f"{look.checkpoints:,} and {size:,}."
        )
        if fresh.checkpoints > look.checkpoints or (fresh.size or 0) > size:
            message += " Rows of it may be lost: writes, for one, which nothing else tells of."
            _blame_gaps(look.findings)
        can_count = recounts(self._tools.store) and not is_left
        finding = IntegrityFinding(
            "counter", message, thread=thread, repairable=can_count,
            advice=f"{_COMPARE} A repair counts what is there." if can_count else f"{_COMPARE} {_ADVICE}",
        )  # fmt: skip
        if self._repair and finding.repairable:
            yield from recount(self._tools.store, Count(thread, look.checkpoints, size, seen.state.seq))
            fresh = yield from row_of(self._tools.backend, thread)
            finding = replace(finding, repaired=fresh is not None and _agrees(fresh, look, size))
        return [finding]

    def _unreached(self, seen: _Seen) -> int:
        """Return how many chunks there are that nothing reaches."""
        reached = len(seen.look.reached.named) + len(seen.look.messages.reached.named)
        return 0 if seen.usage is None else seen.usage.chunks - reached

    def _waste(self, seen: _Seen) -> Iterator[IntegrityFinding]:
        look = seen.look
        if is_unsure(look) or (seen.usage is not None and seen.usage.checkpoints > look.checkpoints):
            return  # what is reached from what is damaged, nobody can tell
        count = self._unreached(seen)
        if count > 0:
            self._report.waste_chunks += count
            said = "chunk is reached by nothing, and takes" if count == 1 else "chunks are reached by nothing, and take"
            yield IntegrityFinding(
                "chunk", f"{count:,} {said} room.", "waste", look.thread, count=count,
                advice="A prune, a repair or the next sweep removes them.", repairable=True,
            )  # fmt: skip

    def _count(self, seen: _Seen) -> None:
        look, report = seen.look, self._report
        report.threads += 1
        report.checkpoints += look.checkpoints
        report.writes += look.writes
        report.chunks += len(look.reached.named) + len(look.messages.reached.named)
        report.messages += look.messages.is_there
        report.batches += look.messages.batches
        report.payload_bytes += look.size + look.reached.size + look.messages.size + look.messages.reached.size
        self._tell(look.thread)

    def _tell(self, thread: str | None = None) -> None:
        if self._on_progress is not None:
            report = self._report
            self._on_progress(
                IntegrityProgress(report.threads, report.checkpoints, report.chunks, report.items, thread, report)
            )


def _blame_gaps(found: list[IntegrityFinding]) -> None:
    """Have it be damage that nothing moved a channel: the thread held more than it does."""
    for number, each in enumerate(found):
        if each.kind == "writes" and each.channel is not None:
            found[number] = replace(each, grade="damage")


def _agrees(row: ThreadRow, look: ThreadLook, size: int) -> bool:
    """Tell whether a thread's record tells what is there; nothing that was not counted is wrong."""
    return row.size in (None, size) and row.checkpoints == look.checkpoints


_ADVICE = "Restore it from a backup, or delete it; the other threads are not affected."
_COMPARE = "Compare with a backup, if there is one."
_STORE = "Threads that are named can be looked at all the same. Restore the store from a backup."
_BUSY = "it was changed each time that it was looked at, so nothing is told of it."

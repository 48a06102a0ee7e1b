"""One thread: its checkpoints, writes and heads, what they reach, its messages, and whether the counts agree."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

from charm_checkpoint.checking.integrity.blame import Blame
from charm_checkpoint.checking.integrity.chunks import Reached
from charm_checkpoint.checking.integrity.lines import Lines
from charm_checkpoint.checking.integrity.messages import MessagesLook
from charm_checkpoint.checking.integrity.own import relinks
from charm_checkpoint.checking.integrity.report import IntegrityFinding
from charm_checkpoint.checking.integrity.tools import Tools
from charm_checkpoint.contract import CheckpointRow, Query, StoredCheckpoint, ThreadState, Usage
from charm_checkpoint.errors import StoreCorrupt
from charm_checkpoint.plan import Compute, Plan
from charm_checkpoint.saver.records import Record
from charm_checkpoint.saver.threads import state_of
from charm_checkpoint.session import Session, Step
from charm_checkpoint.values.decoder import split

PAGE = 100
"""Checkpoints that are read at a time."""
MOST_LISTED = 500
"""Checkpoints of a namespace that are listed at a time, for their order alone."""
MOST_ABOVE = 100
"""Checkpoints before a head among which one is looked for that was not to come after it."""
ATTEMPTS = 3
"""How often a thread is looked at anew because it was changed meanwhile."""

CUT = "what is older in this thread could not be listed, and was not looked at."
TWICE = "it is stored twice, at two places in the order of commits: nobody can tell which of them is right."
HIDDEN = "It leads to one that can be read, and that no other listing shows: what says where that belongs is damaged."
LINK = "its listing goes from the head back, and shows other checkpoints than are stored: a link is wrong."
KEEP = "Restore it from a backup, or copy the checkpoint (`copy`, `export`) before the thread is gone on with."
RELINK = "A repair links all that are there, and makes the last one committed the head."

MOST_KNOWN = 500
"""Addresses that a store is told of, which it then does not send again."""


class Head(NamedTuple):
    """The checkpoint of a namespace that was committed last, of those that are listed."""

    id: str
    seq: int
    roots: bytes


class _Counts(NamedTuple):
    checkpoints: int
    writes: int


class _Read(NamedTuple):
    """What is read of one checkpoint: its record, the channels that are written to there, and what failed."""

    record: Record | None
    written: set[str]
    failed: list[tuple[str, str]]


class ThreadLook:
    """What one look at a thread found."""

    def __init__(self, tools: Tools, thread: str) -> None:
        self._tools = tools
        self.thread = thread
        self.findings: list[IntegrityFinding] = []
        self.reached = Reached(tools, thread)
        self.messages = MessagesLook(tools, thread)
        self.checkpoints = self.writes = self.size = 0
        self.is_cut = False
        self.is_misplaced = False
        """Whether a checkpoint is not where it should be: nothing is to be moved, or removed, because of it."""
        self._heads: dict[str, Head] = {}
        self._lines = Lines()
        self.broken: set[tuple[str, str]] = set()
        """Checkpoints whose record or writes cannot be read."""

    def look(self) -> Session[ThreadState]:
        """Look at all of it, and return the state that the thread had at the beginning."""
        state = yield from self._state()
        yield from self._pages()
        yield from self._check_heads()
        if not self.is_cut:
            yield from self._check_links()
            self._take(self._lines.lost())
        yield from self.messages.look()
        if self.broken or self.reached.bad:
            self.findings += yield from Blame(self._tools, self.reached, self.broken).findings(self.findings)
        return state

    def _state(self) -> Session[ThreadState]:
        try:
            found: ThreadState = yield Step(partial(state_of, self._tools.backend, self.thread), self.thread)
        except StoreCorrupt as error:
            self._add("thread", f"its own record cannot be read: {error}")
            return ThreadState()
        return found

    def state_now(self) -> Session[ThreadState | None]:
        """Return the state that the thread has now, None if nobody can tell."""
        try:
            found: ThreadState = yield Step(partial(state_of, self._tools.backend, self.thread), self.thread)
        except StoreCorrupt:
            return None
        return found

    # ---------------------------------------------------------------- checkpoints

    def _pages(self) -> Session[None]:
        after, size = None, PAGE
        known: tuple[bytes, ...] = ()
        while True:
            query = partial(self._tools.backend.page, Query(self.thread), after, size, known=known)
            try:
                page = yield Step(query, self.thread)
            except StoreCorrupt as error:
                if size > 1:
                    size = max(1, size // 10)  # what comes before the damage is looked at all the same
                    continue
                self._add("thread", f"its checkpoints cannot be listed: {error}; {CUT}")
                self.is_cut = True
                return
            for found in page.items:
                yield from self._checkpoint(found)
            known = self._at_hand([found.row for found in page.items if found.row is not None])
            after = page.next
            if after is None:
                return

    def _at_hand(self, rows: Sequence[CheckpointRow]) -> tuple[bytes, ...]:
        """Return what the checkpoints before reach: those behind them have most of it, too."""
        roots = dict.fromkeys(root for row in rows for root in split(row.roots))
        names = [name for root in roots for name in (root, *self.reached.refs(root)) if name in self.reached.named]
        return tuple(dict.fromkeys(names))[:MOST_KNOWN]

    def _checkpoint(self, found: StoredCheckpoint) -> Session[None]:
        row = found.row
        if row is None:
            return
        self.checkpoints += 1
        self.writes += len(found.writes)
        self.size += len(row.body) + sum(map(len, found.writes))
        self._note(row)
        if row.id in self._lines.ids(row.ns):
            self.broken.add((row.ns, row.id))
            self._add("record", TWICE, namespace=row.ns, checkpoint=row.id)
        read: _Read = yield Step(partial(self._read, row, found.writes), self.thread)
        for kind, why in read.failed:
            self.broken.add((row.ns, row.id))
            self._add(kind, why, namespace=row.ns, checkpoint=row.id)
        self._take(self._lines.take(row, read.record, read.written))
        yield from self.reached.walk(split(row.roots), found.chunks)

    def _read(self, row: CheckpointRow, writes: Sequence[bytes]) -> Plan[_Read]:
        found: _Read = yield Compute(lambda: self._outlined(row, writes))
        return found

    def _outlined(self, row: CheckpointRow, writes: Sequence[bytes]) -> _Read:
        record, written = None, set[str]()
        failed = []
        try:
            if row.thread != self.thread:
                raise StoreCorrupt(f"it is named as that of thread {row.thread!r}")
            record = self._tools.record(row)
        except StoreCorrupt as error:
            failed.append(("record", f"its record cannot be read: {error}"))
        for body in writes:
            try:
                written |= self._tools.writes(row, body)
            except StoreCorrupt as error:
                failed.append(("writes", f"its pending writes cannot be read: {error}"))
        return _Read(None if failed else record, written, failed)

    def _note(self, row: CheckpointRow) -> None:
        head = self._heads.get(row.ns)
        if head is None or row.seq > head.seq:
            self._heads[row.ns] = Head(row.id, row.seq, row.roots)

    def _take(self, findings: Iterable[IntegrityFinding]) -> None:
        self.findings += [replace(found, thread=self.thread) for found in findings]

    # ---------------------------------------------------------------------- heads

    def _check_heads(self) -> Session[None]:
        for ns in dict.fromkeys(("", *self._heads)):
            last = self._heads.get(ns)
            try:
                known = () if last is None else split(last.roots)
                find = partial(self._tools.backend.find, self.thread, ns, None, known=known)
                found = yield Step(find, self.thread)
            except StoreCorrupt as error:
                if last is None or (ns, last.id) not in self.broken:
                    self._add("head", f"the head cannot be read: {error}", namespace=ns)
                continue
            if not self.is_cut:
                yield from self._check_head(ns, last, found)

    def _check_head(self, ns: str, last: Head | None, found: StoredCheckpoint) -> Session[None]:
        head = found.row.id if found.row is not None else found.head
        why = _wrong_head(head, last, found)
        if why is None:
            return
        at = None if last is None else last.id
        if found.row is not None and self._is_hidden(found.row):
            self._misplaced(ns, at, f"{why} {HIDDEN}")
        elif head is not None and at is not None and (yield from self._descends(ns, head, at)):
            self._misplaced(ns, at, f"{why} The head was made from this one, whose place in the order is wrong.")
        else:
            advice = "A repair makes the last one committed the head."
            self._add("head", why, namespace=ns, checkpoint=at, repairable=True, advice=advice)

    def _descends(self, ns: str, id: str, above: str) -> Session[bool]:
        """Tell whether a checkpoint was made from another one, at once or by way of others."""
        find = partial(self._tools.backend.ancestors, self.thread, ns, id, MOST_ABOVE)
        line = yield Step(find, self.thread)
        return any(found.row is not None and found.row.id == above for found in line[1:])

    def _is_hidden(self, row: CheckpointRow) -> bool:
        """Tell whether a checkpoint is of this thread and namespace, and the listing of the thread leaves it out."""
        if row.id in self._lines.ids(row.ns):
            return False
        try:
            self._tools.record(row)
        except StoreCorrupt:
            return False
        return True

    def _misplaced(self, ns: str, at: str | None, why: str) -> None:
        self.is_misplaced = True
        self._add("head", why, namespace=ns, checkpoint=at, advice=KEEP)

    def _check_links(self) -> Session[None]:
        """List each namespace as programs do, where that goes from commit to commit by links of the store's own."""
        if not relinks(self._tools.store) or set(self._heads) <= {""}:  # as it was listed already
            return
        told = {found.namespace for found in self.findings if found.kind == "head"}
        for ns in self._heads.keys() - told:
            rows = yield from self._listed(ns)
            if any(map(self._is_hidden, rows)):
                self._misplaced(ns, self._heads[ns].id, f"{LINK} {HIDDEN}")
            elif [row.id for row in rows] != list(self._lines.ids(ns)):
                at = self._heads[ns].id
                self._add("head", LINK, namespace=ns, checkpoint=at, repairable=True, advice=RELINK)

    def _listed(self, ns: str) -> Session[list[CheckpointRow]]:
        rows: list[CheckpointRow] = []
        after = None
        while True:
            query = partial(self._tools.backend.page, Query(self.thread, ns), after, MOST_LISTED, writes=False)
            page = yield Step(query, self.thread)
            rows += [found.row for found in page.items if found.row is not None]
            after = page.next
            if after is None:
                return rows

    # --------------------------------------------------------------------- counts

    def compare(self, usage: Usage) -> None:
        """Compare what was seen with what the store counts: rows that nothing shows, chunks that nothing reaches."""
        if self.is_cut:
            return
        counted = _Counts(usage.checkpoints, usage.writes)
        if counted.checkpoints > self.checkpoints and relinks(self._tools.store):
            self._add(
                "head", f"{counted.checkpoints:,} checkpoints are stored, and {self.checkpoints:,} are listed: "
                "listings go from the head back, and a head or a link is not what it should be.",
                repairable=not self.is_misplaced, advice=KEEP if self.is_misplaced else RELINK,
            )  # fmt: skip
            return
        if counted.checkpoints != self.checkpoints:
            self._add(
                "counter", f"{counted.checkpoints:,} checkpoints are counted, and {self.checkpoints:,} are listed.",
                advice="Copy the thread under another name, which takes what can be listed, and delete this one.",
            )  # fmt: skip
        if counted.writes > self.writes:
            self._add(
                "writes", f"pending writes of {counted.writes - self.writes:,} tasks are of checkpoints that are not "
                "stored: they wait for these, or are left of them.", grade="note", count=counted.writes - self.writes,
            )  # fmt: skip

    def tell(self, kind: str, message: str) -> None:
        """Add a finding about the thread as a whole."""
        self._add(kind, message)

    def _add(self, kind: str, message: str, **others: object) -> None:
        found = IntegrityFinding(kind, message, thread=self.thread)
        self.findings.append(replace(found, **others))  # type: ignore[arg-type]


def _wrong_head(head: str | None, last: Head | None, found: StoredCheckpoint) -> str | None:
    """Say what is wrong with a namespace's head, None if nothing is."""
    if last is None:
        return None if head is None else f"the head is {head!r}, and no checkpoint of the namespace can be listed."
    if found.row is None:
        return "the namespace has no head, or one that is not there: a run would begin from nothing."
    if head != last.id or found.row.seq != last.seq:
        return f"the head is {head!r}, which is not the last one committed."
    return None

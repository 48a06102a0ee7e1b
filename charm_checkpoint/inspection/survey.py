"""A thread's last checkpoints, gone through for what they take: their bytes, and the line that leads to each head."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from charm_checkpoint.contract import Backend, CheckpointRow, Page, Query
from charm_checkpoint.inspection.weighing import Weights
from charm_checkpoint.plan import Plan
from charm_checkpoint.saver.history import with_writes
from charm_checkpoint.session import Session, Step
from charm_checkpoint.values.decoder import split

STEPS = 20
"""Checkpoints before the head by which is told what grows."""
PAGE = 200
"""Checkpoints that are read at a time, at first."""
PAGE_BYTES = 4 << 20
"""Bytes of records and writes that a page may come to, as far as the pages before it tell."""
COUNTED = 1000
"""Checkpoints of a thread that are weighed by themselves; of more, the rest is taken to be like these."""
NAMESPACES = 50
"""Namespaces whose heads are looked at, those changed last."""


class Survey:
    """Goes through a thread, the last committed first; two round trips a page, however many namespaces there are.

    ``bodies`` and ``written`` are the bytes of ``count`` records and of their writes, ``namespaces`` how many have a
    head among them. ``lines`` are the heads of those that changed last, each with the checkpoints before it.
    """

    def __init__(self, backend: Backend, thread: str, weights: Weights) -> None:
        self._backend = backend
        self._thread = thread
        self._weights = weights
        self._seen: dict[str, set[str]] = {}
        self.lines: dict[str, list[CheckpointRow]] = {}
        self.bodies = self.written = self.count = 0

    @property
    def namespaces(self) -> int:
        """Return how many namespaces were met."""
        return len(self._seen)

    def estimated(self, checkpoints: int) -> tuple[int, int]:
        """Return the bytes of so many records and of their writes, which are as many or more than were read."""
        if self.count >= checkpoints:
            return self.bodies, self.written
        return self.bodies * checkpoints // max(self.count, 1), self.written * checkpoints // max(self.count, 1)

    def go(self) -> Session[None]:
        """Read the checkpoints, and weigh what the lines reach."""
        after, size = None, PAGE
        while self.count < COUNTED:
            after = yield Step(partial(self._page, after, min(size, COUNTED - self.count)), self._thread)
            if after is None:
                break
            average = (self.bodies + self.written) // max(self.count, 1)
            size = max(PAGE_BYTES // max(average, 1), PAGE)
        for ns, line in self.lines.items():
            if self._may_go_on(ns, line, after is not None):
                found = yield Step(partial(self._backend.ancestors, *line[-1][:3], STEPS + 2 - len(line)), self._thread)
                line += [item.row for item in found[1:] if item.row is not None]
        roots = [name for line in self.lines.values() for row in line for name in split(row.roots)]
        yield Step(partial(self._weights.reach, roots), self._thread)

    def _may_go_on(self, ns: str, line: Sequence[CheckpointRow], more: bool) -> bool:
        """Tell whether a parent may be stored behind what was read, or was committed after what follows it."""
        parent = line[-1].parent
        return parent is not None and len(line) <= STEPS and (more or parent in self._seen[ns])

    def _page(self, after: Any, size: int) -> Plan[Any]:
        """Take in the next page; return where the one behind it begins, None if there is none."""
        page: Page = yield from self._backend.page(Query(self._thread), after, size, writes=False)
        rows = [item.row for item in page.items if item.row is not None]
        for row in rows:
            self._take(row)
        yield from self._weigh_writes(rows, after, size)
        self.count += len(rows)
        return page.next

    def _take(self, row: CheckpointRow) -> None:
        self.bodies += len(row.body) + len(row.roots)
        self._seen.setdefault(row.ns, set()).add(row.id)
        if row.ns in self.lines or len(self.lines) < NAMESPACES:
            line = self.lines.setdefault(row.ns, [])
            if not line or (len(line) <= STEPS and line[-1].parent == row.id):
                line.append(row)

    def _weigh_writes(self, rows: Sequence[CheckpointRow], after: Any, size: int) -> Plan[None]:
        # Not along lines: there may be as many as namespaces. All roots are named as known, so that no chunk comes.
        known = {name for row in rows for name in split(row.roots)}
        page: Page = yield from self._backend.page(Query(self._thread), after, size, known=known)
        missing = {(row.ns, row.id): row for row in rows}
        for item in page.items:
            if item.row is not None and missing.pop((item.row.ns, item.row.id), None) is not None:
                self.written += sum(map(len, item.writes))
        if missing:  # what came meanwhile, or large writes, made that page end earlier
            stored = yield from with_writes(self._backend, list(missing.values()))
            for row in missing.values():
                self.written += sum(map(len, stored[row.thread, row.ns, row.id].writes))

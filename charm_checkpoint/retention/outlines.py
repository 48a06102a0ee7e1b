"""What is read of a thread to choose what goes: its checkpoints without their values, a page at a time."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple

from langgraph.checkpoint.serde.types import INTERRUPT

from charm_checkpoint.contract import (
    Backend,
    CheckpointRow,
    Query,
    StoredCheckpoint,
    ThreadState,
    capabilities,
    tenant_of,
)
from charm_checkpoint.errors import DataError, StoreCorrupt, placing
from charm_checkpoint.plan import Plan
from charm_checkpoint.saver.choosing import Candidate, Key, is_task
from charm_checkpoint.saver.history import BATCH, delta_channels, made_at, root_of
from charm_checkpoint.saver.pending_writes import decode_writes
from charm_checkpoint.saver.records import Record, decode_row
from charm_checkpoint.values.limits import DEFAULTS, Limits
from charm_checkpoint.values.offload import decoding
from charm_checkpoint.values.sealing import Identities, opened
from charm_checkpoint.values.serde import Serializer

log = logging.getLogger("charm_checkpoint")

PAGE = 200
"""Checkpoints that are read in one transaction."""


class Noted(NamedTuple):
    """A checkpoint's outline, and the delta channels that it does not hold: None if that cannot be told."""

    outline: Candidate
    lacks: frozenset[str] | None


class Candidates:
    """The checkpoints of one thread, as they are met; a body is looked into only where that is needed.

    ``last`` of each namespace are kept whatever they are, so it is needed what they are rebuilt from. ``times``: when
    each was made is needed, too.
    """

    def __init__(
        self,
        backend: Backend,
        serde: Serializer,
        thread: str,
        *,
        last: int,
        times: bool,
        limits: Limits = DEFAULTS,
    ) -> None:
        self._backend = backend
        self._serde = serde
        self._identities = Identities(tenant_of(backend), marks=capabilities(backend).marks_copies)
        self._thread = thread
        self._last = last
        self._times = times
        self._limits = limits
        self._met: Counter[str] = Counter()
        self.found: dict[Key, Candidate] = {}
        self.newest = 0
        self.state: ThreadState | None = None
        """The thread's, when the first page of it was read."""
        self._lacks: dict[Key, frozenset[str] | None] = {}

    def read(self, after: Any) -> Plan[Any]:
        """Take in the next page; return where to go on, None at the end."""
        page = yield from self._backend.page(Query(self._thread), after, PAGE, writes=False)
        if self.state is None and page.items:
            self.state = page.items[0].state
        rows = [item.row for item in page.items if item.row is not None]
        wanted = {row.id for row in rows if self._is_wanted(row)}
        size = sum(len(row.body) for row in rows if row.id in wanted)
        for noted in (yield from decoding(partial(self._outlines, rows, wanted), size)):
            self._take(noted[0], noted[1])
        return page.next

    def _is_wanted(self, row: CheckpointRow) -> bool:
        self._met[row.ns] += 1
        return self._times or is_task(row.ns) or self._met[row.ns] <= self._last

    def _outlines(self, rows: Sequence[CheckpointRow], wanted: set[str]) -> list[tuple[Noted, bool]]:
        return [(self._noted(row) if row.id in wanted else _plain(row), row.id in wanted) for row in rows]

    def _noted(self, row: CheckpointRow) -> Noted:
        record = self._decoded(row)
        if record is None:
            return Noted(_plain(row).outline, None)
        time = made_at(record.checkpoint.get("ts"))
        created = None if time is None else time.timestamp()
        made = Candidate(row.ns, row.id, row.parent, row.seq, len(row.body), created, root_of(record))
        lacks = delta_channels(record)
        return Noted(made, None if lacks is None else frozenset(lacks))

    def _take(self, noted: Noted, is_known: bool) -> None:
        self.found[noted.outline.key] = noted.outline
        self.newest = max(self.newest, noted.outline.seq)
        if is_known:
            self._lacks[noted.outline.key] = noted.lacks

    def _decoded(self, row: CheckpointRow) -> Record | None:
        """Decode a row without its values: this needs no class of the program. One that is damaged is None."""
        try:
            with placing(row.thread, row.ns, row.id):
                return decode_row(self._serde, self._identities, row, outline=True, limits=self._limits)
        except StoreCorrupt as error:
            log.warning("%s; what it may be built on stays.", error)
            return None

    # ------------------------------------------------------------------------------------------------ what is kept too

    def history(self, kept: Iterable[Key]) -> Iterable[Key]:
        """Return those of what is kept that may be rebuilt from others: `needed` tells from which."""
        return [key for key in kept if self._lacks.get(key, None) != frozenset()]

    def needed(self, key: Key) -> Plan[set[Key]]:
        """Return the ancestors that a checkpoint's delta channels are rebuilt from."""
        if key not in self._lacks:
            page = yield from self._backend.page(Query(self._thread, key[0], key[1]), None, 1, writes=False)
            for item in page.items:
                self._lacks[key] = None if item.row is None else self._noted(item.row).lacks
        missing = self._lacks.get(key, frozenset())
        one = self.found.get(key)
        if missing == frozenset() or one is None or one.parent is None:
            return set()
        return (yield from self._ancestors(key, one.parent, missing))

    def _ancestors(self, key: Key, parent: str, missing: frozenset[str] | None) -> Plan[set[Key]]:
        needed: set[Key] = set()
        step: str | None = parent
        while step is not None and (key[0], step) not in needed:
            line = yield from self._backend.ancestors(self._thread, key[0], step, BATCH)
            step = None
            for row in [found.row for found in line if found.row is not None]:
                needed.add((row.ns, row.id))
                if missing is not None and (record := self._decoded(row)) is not None:
                    missing -= set(record.locations)
                    if not missing:
                        return needed
                step = row.parent
        return needed

    def waits(self, ns: str, id: str | None) -> Plan[bool]:
        """Tell whether a checkpoint, the head if ``id`` is None, has the question of an interrupt in its writes."""
        found = yield from self._backend.find(self._thread, ns, id)
        if found.row is None or not found.writes:
            return False
        return (yield from decoding(partial(self._asks, found, found.row), sum(map(len, found.writes))))

    def _asks(self, found: StoredCheckpoint, row: CheckpointRow) -> bool:
        whose = self._identities.writes(row.thread, row.ns, row.id)
        try:
            writes = decode_writes(
                self._serde.loads_plain, [opened(whose, body) for body in found.writes], self._limits
            )
        except (StoreCorrupt, DataError) as error:
            log.warning("%s; it may wait for an answer, and stays.", error)
            return True
        return any(channel == INTERRUPT for _, channel, _ in writes)


def _plain(row: CheckpointRow) -> Noted:
    return Noted(Candidate(row.ns, row.id, row.parent, row.seq, len(row.body)), None)

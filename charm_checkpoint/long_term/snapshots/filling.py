"""Putting the records of a snapshot into scopes."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from langgraph.store.base import PutOp

from charm_checkpoint.items.flow import Flow
from charm_checkpoint.items.results import time_of
from charm_checkpoint.items.store.line_files import LinesWriter, dump
from charm_checkpoint.items.store.transfer import FORM as ITEMS
from charm_checkpoint.long_term.records import Value
from charm_checkpoint.long_term.scope import Scope
from charm_checkpoint.long_term.snapshots.records import ACCESS, NOTES, Record
from charm_checkpoint.long_term.steps import call
from charm_checkpoint.long_term.tombstones import SIDE as TOMBSTONES
from charm_checkpoint.long_term.tombstones import bury, lift, stone_of, tombstone

_DAY: Final = 86_400_000_000


class Filling:
    """Puts records into scopes: what is there already stays, but with ``overwrite``.

    Each memory is compared and set, so what somebody else writes meanwhile is not lost either.
    """

    def __init__(self, scopes: Mapping[str, Scope], *, overwrite: bool, now: int, tombstone_days: float) -> None:
        self._scopes = scopes
        self._overwrite = overwrite
        self._now = now
        self._lifetime = round(tombstone_days * _DAY)
        self._put: dict[str, set[str]] = {name: set() for name in scopes}
        self.put: Counter[str] = Counter()
        self.kept: Counter[str] = Counter()

    def take(self, records: Iterable[Record]) -> Flow[None]:
        """Put some records, which come in the order of the file."""
        uses: dict[str, list[PutOp]] = {}
        for record in (yield from self._many(list(records))):
            scope = self._scopes.get(record.scope)
            if scope is None:
                continue
            if record.part == NOTES:
                yield from self._memory(scope, record)
            elif record.part == ACCESS:
                if record.key in self._put[record.scope]:
                    op = PutOp(scope.side(ACCESS), record.key, dict(record.value), False)
                    uses.setdefault(record.scope, []).append(op)
            else:
                yield from self._tombstone(scope, record)
        for name, ops in uses.items():
            yield call(self._scopes[name].store, "batch", ops)

    def _many(self, records: Sequence[Record]) -> Flow[list[Record]]:
        """Put the memories of scopes that are all items, many at once; return the other records."""
        plain = {name for name, scope in self._scopes.items() if type(scope) is Scope and not self._overwrite}
        for name in plain:
            scope = self._scopes[name]
            notes = {record.key: record for record in records if record.part == NOTES and record.scope == name}
            there = yield from scope.get_many(list(notes))
            new = [record for record, value in zip(notes.values(), there, strict=True) if value is None]
            self.kept[name] += len(notes) - len(new)
            if not new:
                continue
            graves = yield call(scope.store, "get_many", [(scope.side(TOMBSTONES), record.key) for record in new])
            put = yield call(scope.store, "import_", _items_of(scope, new), overwrite=False)
            self.put[name] += put
            self.kept[name] += len(new) - put  # which others wrote in between
            self._put[name].update(record.key for record in new)
            for grave in graves:
                if grave is not None:
                    yield from lift(scope, grave.key, stone_of(grave))
        return [record for record in records if record.part != NOTES or record.scope not in plain]

    def _memory(self, scope: Scope, record: Record) -> Flow[None]:
        put = False
        stone = yield from tombstone(scope, record.key)

        def change(old: Value | None) -> Value | None:
            nonlocal put
            put = old is None or (self._overwrite and old != record.value)
            return dict(record.value) if put else None

        yield from scope.change(record.key, change)
        if not put:
            self.kept[scope.name] += 1
            return
        self.put[scope.name] += 1
        self._put[scope.name].add(record.key)
        yield from lift(scope, record.key, stone)

    def _tombstone(self, scope: Scope, record: Record) -> Flow[None]:
        left = record.value["forgotten"] + self._lifetime - self._now
        if left <= 0 or (yield from scope.get(record.key)) is not None:
            return
        if (yield from tombstone(scope, record.key)) is None:
            memory: dict[str, Any] = record.value["memory"]
            yield from bury(scope, memory, record.value["forgotten"], left / _DAY)


def _items_of(scope: Scope, records: Iterable[Record]) -> io.BytesIO:
    """Return records as a file of items, with the dates at which they were put, by which they are listed."""
    file = io.BytesIO()
    writer = LinesWriter(file, ITEMS)
    writer.begin()
    writer.write_lines(
        dump(
            {
                "namespace": scope.notes,
                "key": record.key,
                "created": time_of(record.at[0]).isoformat(),
                "updated": time_of(record.at[1]).isoformat(),
                "value": record.value,
            }
        )
        for record in records
    )
    writer.finish()
    file.seek(0)
    return file

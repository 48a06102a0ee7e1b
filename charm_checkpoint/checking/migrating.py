"""Heads stored anew, as this program's classes have them: under their names, in their shapes and versions of now.

What is stored anew is the checkpoint's record and values, in its own place. Its id, parent, time and versions stay, and
so do the writes that wait for it: the ids of tasks come from them, so that an answer still finds the interrupt that
asked. A new checkpoint behind the head would have other tasks, would be a step in the history that nobody made, and
would leave writes behind. The place has to be the one that was read: a checkpoint that was deleted or swept meanwhile
is not brought back, and what a run has put behind it stays the head.

The writes themselves are left as they are stored: a store only adds to them. They are read by the next step, and are
then values. So older checkpoints, of which each has the writes of its step, are not stored anew either.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any, NamedTuple

from langgraph.checkpoint.base import CheckpointTuple

from charm_checkpoint.checking.checking import Inspector, damage
from charm_checkpoint.checking.heads import Head
from charm_checkpoint.checking.report import MigrateReport, Tally, Told
from charm_checkpoint.contract import CheckpointRow, NewCheckpoint, StoredCheckpoint
from charm_checkpoint.errors import DataError, StoreCorrupt
from charm_checkpoint.plan import Compute, Plan
from charm_checkpoint.saver.records import CONFLICT_KEY, NOT_TAGGED, encode_record
from charm_checkpoint.saver.refs import run_of
from charm_checkpoint.saver.tags import tags
from charm_checkpoint.session import Session, Step
from charm_checkpoint.store import Store
from charm_checkpoint.values.encoder import EncodedValue, Encoder, is_small
from charm_checkpoint.values.known_chunks import KnownLeaves
from charm_checkpoint.values.sealing import opened, seal
from charm_checkpoint.values.serde import Serializer

ATTEMPTS = 4
"""How often a checkpoint is read again that was changed meanwhile."""


class _Ready(NamedTuple):
    """A checkpoint as it is to be stored, None if it is up to date; and what reading it told."""

    new: NewCheckpoint | None
    told: list[Told]


def migrate(store: Store, serde: Serializer, threads: Iterable[str] | None, dry_run: bool) -> Session[MigrateReport]:
    """Store the heads of threads anew, one by one; see `Memory.migrate`."""
    migration = _Migration(Inspector(store, serde), MigrateReport(dry_run))
    for part in migration.inspector.threads(None, threads):
        for thread in (yield from part):
            yield from migration.take(thread)
    return migration.done()


class _Migration:
    """A migration under way."""

    def __init__(self, inspector: Inspector, report: MigrateReport) -> None:
        self.inspector = inspector
        self._report = report
        self._left = Tally()
        self._unknown = Tally()
        self._leaves = KnownLeaves()

    def take(self, thread: str) -> Session[None]:
        """Store the heads of one thread anew."""
        told: list[Told] = []
        left: list[Told] = []
        try:
            for head in (yield from self.inspector.heads(thread)):
                yield from self._rewrite(head, told, left)
        except (StoreCorrupt, DataError) as error:
            left.append(damage(error))
        self._report.threads += 1
        self._left.add(thread, left)
        self._unknown.add(thread, [item for item in told if item.kind == "unknown"])
        self.inspector.close(thread, told)

    def _rewrite(self, head: Head, told: list[Told], left: list[Told]) -> Session[None]:
        for _ in range(ATTEMPTS):
            try:
                ready: _Ready | None = yield Step(partial(self._ready, head), head.thread)
            except (StoreCorrupt, DataError) as error:
                left.append(damage(error))
                return
            if ready is None:  # it is gone
                return
            lost = [item for item in ready.told if item.kind == "lost"]
            if lost or ready.new is None or self._report.dry_run:
                told += ready.told
                left += lost
                self._report.rewritten += ready.new is not None and not lost
                self._report.current += ready.new is None
                return
            reply = yield Step(partial(self.inspector.backend.put, ready.new), head.thread, write=True)
            if reply.outcome == "stored":
                self._report.rewritten += 1
                again = yield Step(partial(self.inspector.read, head), head.thread)
                told += again[1] if again is not None else ()
                return
        left.append(Told("busy", "checkpoint", None, "it was changed again and again while it was to be rewritten"))

    def _ready(self, head: Head) -> Plan[_Ready | None]:
        """Read a checkpoint, and encode it as it would be stored now."""
        found, revived = yield from self.inspector.found(head)
        if revived is None:
            return None
        told = self.inspector.told()
        ready: _Ready = yield Compute(partial(self._encoded, found, revived, told))
        return ready

    def _encoded(self, found: StoredCheckpoint, revived: CheckpointTuple, told: list[Told]) -> _Ready:
        row, inspector, limits = found.row, self.inspector, self.inspector.store.limits
        assert row is not None
        encoder = Encoder(inspector.serde, self._leaves, limits=limits)
        encoded = {name: _encode(encoder, name, value) for name, value in revived.checkpoint["channel_values"].items()}
        metadata = {key: value for key, value in revived.metadata.items() if key != CONFLICT_KEY}
        checkpoint: Mapping[str, Any] = revived.checkpoint
        packed, roots = encode_record(inspector.serde, row.thread, checkpoint, metadata, encoded, limits)
        if roots == row.roots and packed == self._body_of(row):
            return _Ready(None, told)
        body = seal(inspector.identities.checkpoint(row.thread, row.ns, row.id, row.parent, roots), packed)
        chunks = list(encoder.chunks.values())
        # Whatever moved these counters may have removed the checkpoint, and it must not come back.
        deletes, sweeps, _ = found.state
        new = NewCheckpoint(
            row.thread, row.ns, row.id, row.parent, body, roots, tags(metadata, NOT_TAGGED), run_of(metadata), chunks,
            sweeps, deletes, "raise",
        )  # fmt: skip
        return _Ready(new, told)

    def _body_of(self, row: CheckpointRow) -> bytes:
        identity = self.inspector.identities.checkpoint(row.thread, row.ns, row.id, row.parent, row.roots)
        return bytes(opened(identity, row.body))

    def done(self) -> MigrateReport:
        """Return what was done."""
        self._report.left = self._left.findings()
        self._report.unknown = self._unknown.findings()
        self._report.aliases = self.inspector.alias_uses()
        return self._report


def _encode(encoder: Encoder, name: str, value: Any) -> EncodedValue | None:
    if is_small(value):
        return None
    try:
        return encoder.value(value)
    except DataError as error:
        raise error.at("channel_values", name) from error.__cause__

"""Which checkpoints cannot be read because of what is damaged, and to which one can be gone back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

from charm_checkpoint.checking.integrity.chunks import Reached
from charm_checkpoint.checking.integrity.places import place_in
from charm_checkpoint.checking.integrity.report import IntegrityFinding
from charm_checkpoint.checking.integrity.tools import Tools
from charm_checkpoint.contract import CheckpointRow, Query
from charm_checkpoint.errors import StoreCorrupt, id_text
from charm_checkpoint.session import Session, Step
from charm_checkpoint.values.decoder import split

PAGE = 200
MOST_PLACES = 5
"""Damaged chunks whose place in a value is looked for: all before it is read for that."""

RESTORE = "Restore the thread from a backup, or delete it"


@dataclass
class _Share:
    """One damaged chunk: the checkpoints that it is part of, the last of which is ``row``, and where it is there."""

    row: CheckpointRow
    root: bytes
    count: int = 0


class Blame:
    """Goes once more through the checkpoints of a thread of which something is damaged."""

    def __init__(self, tools: Tools, reached: Reached, broken: set[tuple[str, str]]) -> None:
        self._tools = tools
        self._reached = reached
        self._broken = broken
        self._tainted = reached.tainted()
        self._shares: dict[bytes, _Share] = {}
        self._whole: dict[str, str] = {}

    def findings(self, told: list[IntegrityFinding]) -> Session[list[IntegrityFinding]]:
        """Return what is to be told of damaged chunks; those told of checkpoints get their advice."""
        yield from self._go_through()
        for number, found in enumerate(told):
            if found.kind in ("record", "writes", "thread"):
                told[number] = replace(found, advice=self.advice(found.namespace))
        chunks = []
        for number, (name, share) in enumerate(self._shares.items()):
            place = ""
            if number < MOST_PLACES:
                place = yield from place_in(self._tools, self._reached, share.root, self._tainted)
            chunks.append(self._of_chunk(name, share, place))
        return chunks

    def _go_through(self) -> Session[None]:
        after = None
        while True:
            query = partial(self._tools.backend.page, Query(self._reached.thread), after, PAGE, writes=False)
            try:
                page = yield Step(query, self._reached.thread)
            except StoreCorrupt:  # which was told
                return
            for found in page.items:
                if found.row is not None:
                    self._take(found.row)
            after = page.next
            if after is None:
                return

    def _take(self, row: CheckpointRow) -> None:
        roots = [root for root in split(row.roots) if root in self._tainted]
        for bad, root in {self._tainted[root]: root for root in roots}.items():
            share = self._shares.setdefault(bad, _Share(row, root))
            share.count += 1
            if (share.row.ns, share.row.id) in self._broken:  # its record does not tell the channel: another one's may
                share.row, share.root = row, root
        if not roots and (row.ns, row.id) not in self._broken:
            self._whole.setdefault(row.ns, row.id)

    def advice(self, ns: str) -> str:
        """Say what can be done about a damaged checkpoint of a namespace."""
        whole = self._whole.get(ns)
        if whole is None:
            return f"No checkpoint of the namespace is whole. {RESTORE}."
        return f"The last whole checkpoint is {id_text(whole)}: go on from that one. Or: {_lower(RESTORE)}."

    def _of_chunk(self, name: bytes, share: _Share, place: str) -> IntegrityFinding:
        row = share.row
        channel = self._channel(row, share.root)
        more = f" {share.count:,} checkpoints have it." if share.count > 1 else ""
        return IntegrityFinding(
            "chunk", f"a chunk of the value is damaged: {said(name, self._reached.bad[name])}.{more}",
            thread=row.thread, namespace=row.ns, checkpoint=row.id, channel=channel,
            path=None if channel is None else f"channel_values.{channel}{place}", count=share.count,
            advice=self.advice(row.ns),
        )  # fmt: skip

    def _channel(self, row: CheckpointRow, root: bytes) -> str | None:
        try:
            return self._tools.channels(row).get(root)
        except StoreCorrupt:
            return None


def said(name: bytes, why: str) -> str:
    """Return what is wrong with a chunk, which is named once."""
    return why.rstrip(".") if name.hex() in why else f"{name.hex()}: {why.rstrip('.')}"


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]


def damaged_roots(reached: Reached, roots: Sequence[bytes]) -> Iterator[tuple[bytes, bytes]]:
    """Yield those of some roots from which something bad is reached, each with that."""
    tainted = reached.tainted()
    for root in roots:
        if root in tainted:
            yield root, tainted[root]

"""Which threads are looked at, and which of their checkpoints: the heads that a program goes on from.

Of a thread these are the root graph's head; that of each subgraph that keeps its state from turn to turn, whose
namespace is a path of nodes; and, while the root graph is in the middle of a step, those of the subgraphs of this step,
whose namespaces name tasks. Heads of tasks that are over are read by nobody any more, and belong to the history.
"""

from __future__ import annotations

import heapq
from functools import partial
from hashlib import blake2b
from typing import NamedTuple

from charm_checkpoint.contract import Backend, CheckpointRow, Query
from charm_checkpoint.errors import StoreCorrupt
from charm_checkpoint.saver.choosing import is_task
from charm_checkpoint.saver.history import parents_of
from charm_checkpoint.saver.records import Record, decode_row
from charm_checkpoint.saver.threads import ThreadListing
from charm_checkpoint.session import Session, Step
from charm_checkpoint.values.limits import Limits
from charm_checkpoint.values.sealing import Identities
from charm_checkpoint.values.serde import Serializer

PAGE = 200
"""Checkpoints listed at a time, without their values."""


class Head(NamedTuple):
    """A checkpoint to look at."""

    thread: str
    ns: str
    id: str


class RecordReader(NamedTuple):
    """What it takes to decode a checkpoint without its values."""

    serde: Serializer
    identities: Identities
    limits: Limits

    def record(self, row: CheckpointRow) -> Record | None:
        """Return a checkpoint's record, None if it is damaged."""
        try:
            return decode_row(self.serde, self.identities, row, outline=True, limits=self.limits)
        except StoreCorrupt:
            return None


def heads(backend: Backend, thread: str, outlines: RecordReader) -> Session[list[Head]]:
    """Return the heads of a thread that a program goes on from; the root graph's first."""
    rows: dict[str, CheckpointRow] = {}
    tasks: dict[str, tuple[str, dict[str, str]]] = {}
    waiting: list[CheckpointRow] = []
    after = None
    seen: set[str] = set()
    while True:
        page = yield Step(partial(backend.page, Query(thread), after, PAGE, writes=False), thread)
        for found in page.items:
            row = found.row
            if row is None or row.ns in seen:
                continue
            seen.add(row.ns)
            if is_task(row.ns):
                waiting.append(row)
            else:
                rows[row.ns] = row
        if "" in rows:  # only now can be told which tasks are of the step under way
            for row in waiting:
                record = outlines.record(row)
                parents = {"": rows[""].id} if record is None else parents_of(record.metadata)
                if parents.get("") == rows[""].id:
                    tasks[row.ns] = (row.id, parents)
            waiting.clear()
        after = page.next
        if after is None:
            break
    ids = {ns: row.id for ns, row in rows.items()} | {ns: id for ns, (id, _) in tasks.items()}
    current = [ns for ns, (_, parents) in tasks.items() if all(ids.get(up, id) == id for up, id in parents.items())]
    return [Head(thread, ns, ids[ns]) for ns in (*sorted(rows), *sorted(current))]


def all_checkpoints(backend: Backend, thread: str) -> Session[list[Head]]:
    """Return every checkpoint of a thread, the last one committed first."""
    listed: list[Head] = []
    after = None
    while True:
        page = yield Step(partial(backend.page, Query(thread), after, PAGE, writes=False), thread)
        listed += [Head(thread, found.row.ns, found.row.id) for found in page.items if found.row is not None]
        after = page.next
        if after is None:
            return listed


def sampled(backend: Backend, count: int, every: bool = False) -> Session[list[str]]:
    """Return as many threads, chosen by their names: the same ones each time, old and new alike.

    They have checkpoints, unless it is to be of ``every`` thread.
    """
    best: list[tuple[int, str]] = []
    listing = ThreadListing(backend, None)
    while listing.more:
        page = yield Step(listing.next_page)
        for info in listing.take(page):
            if info.thread_id is not None and (every or info.checkpoints):
                heapq.heappush(best, (-_rank(info.thread_id), info.thread_id))
                if len(best) > count:
                    heapq.heappop(best)
    return sorted(thread for _, thread in best)


def _rank(thread: str) -> int:
    return int.from_bytes(blake2b(thread.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")

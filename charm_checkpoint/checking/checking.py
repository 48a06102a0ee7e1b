"""A check: what this program's classes, and a graph, make of the threads that a store holds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

from langgraph.checkpoint.base import CheckpointTuple

from charm_checkpoint.checking.graphs import GraphCheck, waits
from charm_checkpoint.checking.heads import Head, RecordReader, all_checkpoints, heads, sampled
from charm_checkpoint.checking.report import AliasUse, CheckReport, Tally, Told
from charm_checkpoint.contract import StoredCheckpoint, capabilities, tenant_of
from charm_checkpoint.errors import DataError, StoreCorrupt
from charm_checkpoint.plan import Compute, Plan
from charm_checkpoint.runtime.cache import Budget
from charm_checkpoint.saver.plans import SaverPlans
from charm_checkpoint.saver.refs import CheckpointRef
from charm_checkpoint.saver.threads import ThreadListing
from charm_checkpoint.session import Session, Step
from charm_checkpoint.store import Store
from charm_checkpoint.values.chunk_reader import ChunkReader
from charm_checkpoint.values.sealing import Identities
from charm_checkpoint.values.serde import Serializer
from charm_checkpoint.values.serde.aliases import aliases, used
from charm_checkpoint.values.serde.telling import Finding

REMEMBERED = 16 << 20
"""Bytes that are remembered from one checkpoint to the next."""


class Inspector:
    """Reads checkpoints one by one, and gathers what is told of them. It remembers apart from the program's saver."""

    def __init__(self, store: Store, serde: Serializer) -> None:
        self.store = store
        self.backend = store.backend
        self._heard: list[Finding] = []
        self.serde = serde.keeping.telling(self._heard.append)  # to see all that is in a checkpoint
        budget = Budget(min(REMEMBERED, store.budget.limit))
        reader = ChunkReader(self.backend, budget, store.limits)
        self.plans = SaverPlans(self.backend, self.serde, reader, budget, store.limits)
        self.identities = Identities(tenant_of(self.backend), marks=capabilities(self.backend).marks_copies)
        self.tally = Tally()
        self.aliases = dict.fromkeys(aliases(), 0)

    def heads(self, thread: str) -> Session[list[Head]]:
        """Return the heads of a thread."""
        return heads(self.backend, thread, RecordReader(self.serde, self.identities, self.store.limits))

    def older(self, thread: str, current: list[Head]) -> Session[list[Head]]:
        """Return the checkpoints of a thread that are not among its heads."""
        known = set(current)
        return [head for head in (yield from all_checkpoints(self.backend, thread)) if head not in known]

    def read(self, head: Head) -> Plan[tuple[CheckpointTuple, list[Told]] | None]:
        """Return a checkpoint, and what reading it told; None if it is gone meanwhile."""
        _, revived = yield from self.found(head)
        return None if revived is None else (revived, self.told())

    def found(self, head: Head) -> Plan[tuple[StoredCheckpoint, CheckpointTuple | None]]:
        """Return a checkpoint as it is stored, and as it is read."""
        self._heard.clear()  # a plan may be made again
        return self.plans.reads.get_tuple(CheckpointRef(*head))

    def told(self) -> list[Told]:
        """Return what reading the last checkpoint told."""
        return [Told(*found[:2], found.field or None, found.message) for found in self._heard]

    def close(self, thread: str, told: list[Told]) -> None:
        """Count what the checkpoints of a thread told, and forget it."""
        self.tally.add(thread, told)
        for alias in {alias for item in told if item.kind == "alias" for alias in used(item.subject, self.aliases)}:
            self.aliases[alias] += 1
        self.plans.known.forget(thread)

    def alias_uses(self) -> list[AliasUse]:
        """Return how many threads were read by each former name."""
        classes = aliases()
        return [AliasUse(alias, classes[alias], count) for alias, count in self.aliases.items() if alias in classes]

    def threads(self, sample: int | None, named: Iterable[str] | None) -> Iterator[Session[list[str]]]:
        """Yield what returns the threads to look at, a part of them at a time."""
        if named is not None:
            yield _given(named)
        elif sample is not None:
            yield sampled(self.backend, sample)
        else:
            listing = ThreadListing(self.backend, None)
            while listing.more:
                yield self._page(listing)

    def _page(self, listing: ThreadListing) -> Session[list[str]]:
        page = yield Step(listing.next_page)
        found = []
        for info in listing.take(page):
            if info.damage is not None:
                name = info.thread_id or "?"
                self.tally.add(name, [Told("damaged", "thread", None, info.damage)])
            elif info.thread_id is not None and info.checkpoints:
                found.append(info.thread_id)
        return found


def _given(names: Iterable[str]) -> Session[list[str]]:
    yield from ()
    return list(dict.fromkeys(names))


def check(
    store: Store,
    serde: Serializer,
    graph: Any,
    sample: int | None = None,
    threads: Iterable[str] | None = None,
    history: bool = False,
) -> Session[CheckReport]:
    """Look at threads one by one, and return what was found; see `Memory.check`."""
    compared = None if graph is None else GraphCheck(graph)
    inspector = Inspector(store, serde_of(compared, serde))
    report = CheckReport(is_sample=sample is not None or threads is not None, is_history=history)
    for part in inspector.threads(sample, threads):
        for thread in (yield from part):
            told: list[Told] = []
            try:
                current = yield from inspector.heads(thread)
                for head in current:
                    yield from _look(inspector, compared, head, told, report)
                for head in (yield from inspector.older(thread, current)) if history else ():
                    yield from _look(inspector, None, head, told, report, is_head=False)
            except (StoreCorrupt, DataError) as error:
                told.append(damage(error))
            report.threads += 1
            inspector.close(thread, told)
    report.findings = inspector.tally.findings()
    report.aliases = inspector.alias_uses()
    return report


def serde_of(compared: GraphCheck | None, serde: Serializer) -> Serializer:
    """Return the serializer that a graph reads with: LangGraph gives its saver an allowlist where it is told to."""
    own = None if compared is None else getattr(compared.graph.checkpointer, "serde", None)
    return own if isinstance(own, Serializer) else serde


def _look(
    inspector: Inspector,
    compared: GraphCheck | None,
    head: Head,
    told: list[Told],
    report: CheckReport,
    is_head: bool = True,
) -> Session[None]:
    try:
        found = yield Step(partial(_seen, inspector, compared, head), head.thread)
    except (StoreCorrupt, DataError) as error:
        told.append(damage(error))
        return
    if found is not None:
        said, is_waiting = found
        told += said
        report.checkpoints += 1
        report.waiting += is_waiting and is_head


def _seen(inspector: Inspector, compared: GraphCheck | None, head: Head) -> Plan[tuple[list[Told], bool] | None]:
    found = yield from inspector.read(head)
    if found is None:
        return None
    revived, told = found
    is_waiting = not head.ns and waits(revived)
    if compared is not None:
        told += yield Compute(lambda: list(compared.look(head.ns, revived)))
    return told, is_waiting


def damage(error: StoreCorrupt | DataError) -> Told:
    """Return what is told of a checkpoint that cannot be read, or not be stored again."""
    return Told("damaged", type(error).__name__, None, str(error))

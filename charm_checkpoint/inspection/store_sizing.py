"""What of a whole store takes how much room, by the counters of its threads."""

from __future__ import annotations

from functools import partial

from charm_checkpoint.inspection.largest import Largest
from charm_checkpoint.inspection.sizes import KindSize, SizeReport, ThreadSize
from charm_checkpoint.items.namespaces import ITEMS
from charm_checkpoint.saver.threads import ThreadListing
from charm_checkpoint.session import Session, Step
from charm_checkpoint.store import Store


def store_sizes(store: Store, top: int) -> Session[SizeReport]:
    """Return what of a store takes how much room, by what its threads' records tell; nothing of them is read."""
    listing = ThreadListing(store.backend, None)
    largest, total, checkpoints, counted, uncounted, messages = Largest(top), 0, 0, 0, 0, 0
    while listing.more:
        for info in listing.take((yield Step(listing.next_page))):
            checkpoints += info.checkpoints
            messages += info.has_messages
            if info.size is None:
                uncounted += 1
                continue
            counted += 1
            total += info.size
            largest.add(info.size, info)
    kinds = [KindSize("checkpoints", checkpoints, total), KindSize("messages", messages)]
    if store.items is not None:
        items = yield Step(partial(store.items.usage, ITEMS))
        kinds.append(KindSize("items", items.items, items.payload_bytes))
        total += items.payload_bytes
    threads = tuple(
        ThreadSize(info.thread_id or "?", held, info.checkpoints, info.title) for held, info in largest.found()
    )
    notes = [f"the size of {uncounted} threads is not counted yet"] if uncounted else []
    if messages:
        notes.append("message histories are not weighed")
    return SizeReport(None, total, tuple(kinds), threads, counted=counted, uncounted=uncounted, notes=tuple(notes))

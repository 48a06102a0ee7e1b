"""A copy as a whole: threads with their messages first, then long-term memory."""

from __future__ import annotations

from typing import Any

from charm_checkpoint.errors import ConfigError, StoreError
from charm_checkpoint.store import Store
from charm_checkpoint.transfer.copying import ThreadCopy, Wanted
from charm_checkpoint.transfer.hops import Hop, Moving
from charm_checkpoint.transfer.items import ItemReader, ItemWriter
from charm_checkpoint.transfer.report import CopyReport, Tally

ITSELF = "a store is not copied to itself; copy_thread of its checkpointer copies a thread within it"


def copy(source: Store, target: Store, origin: str, wanted: Wanted, blank: bool = False) -> Moving[CopyReport]:
    """Copy what is wanted from one store to another; ``origin`` names the source, without secrets.

    ``blank`` says that there is no target yet, and that it is not to be made.
    """
    if source is target:
        raise ConfigError(ITSELF)
    if not target.keeps_checkpoints:
        raise ConfigError("the target keeps nothing, so nothing can be copied to it")
    tally = Tally(wanted.dry_run, wanted.verify)
    blank = blank or (wanted.dry_run and not (yield from is_there(target)))
    yield from ThreadCopy(source, target, origin, wanted, tally, blank=blank).all()
    if wanted.items and source.items is not None:
        if target.items is None:
            raise StoreError("the target keeps no long-term memory: leave it out, with items=False")
        yield from ItemReader(source, tally).give(ItemWriter(target, wanted, tally, blank=blank).put)
    return tally.report()


def is_there(store: Store) -> Moving[bool]:
    """Tell whether a store that is only to be looked at has its tables; without them it holds nothing."""
    there: Any = yield Hop(store, store.backend.is_current)
    return bool(there)

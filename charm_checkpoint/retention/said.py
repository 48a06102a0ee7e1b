"""Turns of a thread that were kept as durable memories, word for word: they go with the thread when it is erased."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from charm_checkpoint.items.flow import Flow
from charm_checkpoint.items.results import FoundItem
from charm_checkpoint.items.store.charm_store import CharmStore
from charm_checkpoint.long_term import steps
from charm_checkpoint.long_term.scope import ROOT
from charm_checkpoint.long_term.showing import CONVERSATION


def erase_turns(store: CharmStore, thread: str, dry_run: bool) -> Flow[int]:
    """Delete what was said in a thread, which is the session of what agents save by themselves; return how many."""
    wanted: Mapping[str, Any] = {"session": thread, "category": CONVERSATION}
    found: list[FoundItem] = yield steps.collect(store, (ROOT,), filter=dict(wanted))
    if not dry_run:
        for item in found:
            yield steps.call(store, "delete", item.namespace, item.key)
    return len(found)

"""What durable memories have of a thread that is erased: its turns, kept word for word, go; others forget its name."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from charm_checkpoint.items.flow import Flow
from charm_checkpoint.items.results import FoundItem
from charm_checkpoint.items.store.charm_store import CharmStore
from charm_checkpoint.long_term import steps
from charm_checkpoint.long_term.scope import ROOT
from charm_checkpoint.long_term.showing import CONVERSATION


def erase_turns(store: CharmStore, thread: str, dry_run: bool) -> Flow[int]:
    """Delete what was said in a thread, which is the session of what agents save by themselves; return how many.

    What was learned in it stays, and does not tell of it any more.
    """
    found: list[FoundItem] = yield steps.collect(store, (ROOT,), filter={"session": thread})
    said = [item for item in found if item.value.get("category") == CONVERSATION]
    if dry_run:
        return len(said)
    for item in said:
        yield steps.call(store, "delete", item.namespace, item.key)
        yield steps.call(store, "delete", (*item.namespace[:-1], "access"), item.key)
    for item in found:
        if item not in said:
            yield steps.call(store, "update", item.namespace, item.key, partial(_without_session, thread))
    return len(said)


def _without_session(thread: str, value: Mapping[str, Any] | None) -> dict[str, Any] | None:
    return {**value, "session": None} if value is not None and value.get("session") == thread else None

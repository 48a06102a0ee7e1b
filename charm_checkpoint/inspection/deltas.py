"""Channels that are stored as changes: LangGraph's ``DeltaChannel``, put together by a reducer of the program's.

A look has no graph. It shows the value that was stored last, with what was written since behind it.
"""

from __future__ import annotations

from typing import Any

from charm_checkpoint.errors import DataError, StoreCorrupt
from charm_checkpoint.inspection.building import without_snapshot
from charm_checkpoint.inspection.plain_values import Damaged
from charm_checkpoint.plan import Plan
from charm_checkpoint.runtime.cache import Budget
from charm_checkpoint.saver.plans import SaverPlans
from charm_checkpoint.saver.refs import CheckpointRef
from charm_checkpoint.store import Store
from charm_checkpoint.values.chunk_reader import ChunkReader
from charm_checkpoint.values.serde import Serializer

BUDGET = 4 << 20
"""Bytes that are remembered from one checkpoint of the line to the next."""


def delta_parts(store: Store, serde: Serializer, ref: CheckpointRef, name: str) -> Plan[tuple[Any, str | None]]:
    """Return what is shown of a channel that is stored as changes, and what is to be said of it."""
    budget = Budget(min(BUDGET, store.budget.limit))
    reader = ChunkReader(store.backend, budget, store.limits)
    plans = SaverPlans(store.backend, serde, reader, budget, store.limits)
    try:
        history = yield from plans.reads.history(ref, [name])
    except (StoreCorrupt, DataError) as error:
        return Damaged(str(error)), None
    writes = [value for _, _, value in history[name]["writes"]]
    said = (
        f"it is stored as changes: shown is the value stored last, and the {len(writes)} writes since as they were made"
    )
    return _joined(history[name].get("seed"), writes), said if writes else None


def _joined(seed: Any, writes: list[Any]) -> Any:
    """Return the value stored last with what was written since: lists behind it, anything else in its place."""
    value = without_snapshot(seed)
    for write in writes:
        if value is None and type(write) is not list:
            value = [write]
        elif type(value) is list or value is None:
            value = [*(value or ()), *(write if type(write) is list else [write])]
        elif type(value) is dict and type(write) is dict:
            value = {**value, **write}
        else:
            value = write
    return value

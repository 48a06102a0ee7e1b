"""A copy of a checkpoint that a run can go on from, as LangGraph makes one of it."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

from langgraph.checkpoint.base import CheckpointTuple, copy_checkpoint
from langgraph.checkpoint.base.id import uuid6

from charm_checkpoint.saver.history import COUNTERS


def forked(found: CheckpointTuple) -> tuple[Any, Any]:
    """Return the copy, under an id of its own, and its metadata."""
    made = {"id": str(uuid6(clock_seq=-2)), "ts": datetime.now(timezone.utc).isoformat()}
    checkpoint: dict[str, Any] = {**copy_checkpoint(found.checkpoint), **made}
    metadata: dict[str, Any] = {
        "source": "fork",
        "step": found.metadata.get("step", -1) + 1,
        "parents": found.metadata.get("parents", {}),
    }
    counters = dict(found.metadata).get(COUNTERS)
    return checkpoint, {**metadata, **({COUNTERS: counters} if counters else {})}

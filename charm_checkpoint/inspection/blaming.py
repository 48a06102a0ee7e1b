"""Who wrote what stands at a path."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from charm_checkpoint.plain import Plain


@dataclass(frozen=True, slots=True)
class BlameEntry(Plain):
    """The checkpoint that put at ``path`` what stands there, and what made it.

    ``path`` may be a range, such as ``messages[3:5]``, of elements of a list that came together. ``value`` is plain
    JSON, cut short. ``is_oldest``: what is older of the line cannot be told of: it may have been pruned, or is damaged,
    or the channel is stored as changes there (LangGraph's ``DeltaChannel``).
    """

    path: str
    checkpoint_id: str
    checkpoint_ns: str
    step: int | None
    source: str | None
    nodes: tuple[str, ...]
    created_at: datetime | None
    run_id: str | None
    value: Any = None
    is_oldest: bool = False

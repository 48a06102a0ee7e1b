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
    JSON, cut short. ``is_oldest``: it is the oldest checkpoint that there is of the line, and what is older may have
    been pruned.
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

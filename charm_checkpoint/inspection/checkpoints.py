"""A checkpoint as a history shows it: read from its record alone, without a value of its state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from charm_checkpoint.plain import Plain


@dataclass(frozen=True, slots=True)
class CheckpointInfo(Plain):
    """One checkpoint of a thread's history.

    ``parent_id`` is the checkpoint that it follows in its namespace, None for the first; two that have the same parent
    are branches. ``is_fork``: it was begun from an older checkpoint than the head of its time, by a fork, a state
    update or a run sent there. ``conflict`` is the id of the head that it did not follow, where two runs met.
    ``is_head``: a run goes on from it.

    ``source`` is ``input``, ``loop``, ``update`` or ``fork``, as LangGraph has it, ``step`` its number of the step.
    ``nodes`` are those whose writes it holds, ``next`` those that are to run after it: of a head, those that have not
    finished. ``interrupts`` counts the questions that were asked at it: of a head, those that wait. ``error`` tells
    that a task failed at it. ``run_id`` is the run that made it, ``device`` the machine, where its config's metadata
    says so (``device``, ``device_id``, ``host`` or ``hostname``).

    ``channels`` are the names of the state's that it holds, ``changed`` those that differ from the checkpoint before.
    ``size`` is the bytes of its record and its writes; what it has in chunks it may share with others, and is not
    counted. ``parents`` maps each namespace above it to the checkpoint there that it was made under.

    ``note`` says what of it cannot be read; the rest is then what can be told. ``cursor`` goes on behind it, with
    ``history(thread, after=cursor)``.
    """

    thread_id: str
    checkpoint_ns: str
    checkpoint_id: str
    parent_id: str | None = None
    created_at: datetime | None = None
    step: int | None = None
    source: str | None = None
    nodes: tuple[str, ...] = ()
    next: tuple[str, ...] = ()
    interrupts: int = 0
    error: bool = False
    is_head: bool = False
    is_fork: bool = False
    conflict: str | None = None
    run_id: str | None = None
    device: str | None = None
    channels: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    size: int = 0
    parents: Mapping[str, str] = field(default_factory=dict, hash=False)
    note: str | None = None
    cursor: str | None = None

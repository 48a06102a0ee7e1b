"""What a store would not do, as errors that say what to do next."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from charm_checkpoint.contract import WriteResult
from charm_checkpoint.errors import CheckpointNotFound, ThreadConflict, ThreadDeleted, ThreadExists, id_text
from charm_checkpoint.saver.refs import CheckpointRef


def refuse_conflict(ref: CheckpointRef, reply: WriteResult) -> None:
    """Raise `ThreadConflict` if another writer's checkpoint is the head."""
    if reply.outcome == "conflict":
        raise ThreadConflict(
            f"Thread {ref.thread!r}: another writer's checkpoint {id_text(reply.head)} is the head; this one "
            f"follows {id_text(ref.id) if ref.id else 'nothing'}. Nothing was written. Run it again: a new run "
            "starts from the head.",
            parent=ref.id,
            head=reply.head,
        )


def refuse_deleted(ref: CheckpointRef, reply: WriteResult) -> None:
    """Raise `ThreadDeleted` if the thread was deleted after the run began."""
    if reply.outcome == "deleted":
        raise ThreadDeleted(
            f"Thread {ref.thread!r} was deleted after this run began, so its writes are refused. "
            "To begin anew under the same id, start a new run."
        )


def begins_anew(metadata: Mapping[str, Any]) -> bool:
    """Tell whether a checkpoint is the first that LangGraph puts where it found none, by an input or an update."""
    return (metadata.get("source"), metadata.get("step")) in (("input", -1), ("update", 0))


def refuse_orphan(ref: CheckpointRef, head: str | None, *, needed: bool, anew: bool) -> None:
    """Refuse what follows a checkpoint that its thread does not hold any more, where that would lose something.

    Raises `ThreadConflict` if what is put cannot be read without it, `CheckpointNotFound` if the thread would go on
    from nothing; what has all that it needs is taken. A thread without a head has lost none: no removal takes it.
    """
    if needed and (head is not None or ref.ns):
        raise ThreadConflict(
            f"Thread {ref.thread!r}: checkpoint {id_text(ref.id)}, which this one follows, was removed meanwhile by a "
            "sweep, a prune or a delete, and what this one holds is rebuilt from it. Nothing was written. Run it "
            "again: a new run starts from the head.",
            parent=ref.id,
            head=head,
        )
    if head is not None and anew:
        raise CheckpointNotFound(
            f"Thread {ref.thread!r} does not hold checkpoint {id_text(ref.id)} (any more), so what would follow it "
            "would begin from nothing, and hide what the thread holds. Nothing was written. Name a checkpoint that "
            "is there (get_state_history, or the command: charm-checkpoint history), or none: a run then goes on from "
            "the head."
        )


def refuse_existing(thread: str, reply: WriteResult) -> None:
    """Raise `ThreadExists` if a copy would have to replace something."""
    if reply.outcome == "conflict":
        raise ThreadExists(f"Thread {thread!r} already holds checkpoints; delete it first or copy to another id.")

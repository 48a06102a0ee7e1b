"""What a store would not do, as errors that say what to do next."""

from __future__ import annotations

from charm_checkpoint.contract import WriteResult
from charm_checkpoint.errors import ThreadConflict, ThreadDeleted, ThreadExists, id_text
from charm_checkpoint.saver.records import CheckpointRef


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


def refuse_existing(thread: str, reply: WriteResult) -> None:
    """Raise `ThreadExists` if a copy would have to replace something."""
    if reply.outcome == "conflict":
        raise ThreadExists(f"Thread {thread!r} already holds checkpoints; delete it first or copy to another id.")

"""What a store would not do, as errors that say what to do next."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from charm_checkpoint.contract import WriteResult
from charm_checkpoint.errors import CharmError, CheckpointNotFound, ThreadConflict, ThreadDeleted, ThreadExists, id_text
from charm_checkpoint.saver.refs import CheckpointRef

REMEMBERED = 256
"""Refused checkpoints that are remembered; a run has one after another."""


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


class Orphans:
    """Checkpoints that were refused as orphans, so that what follows them is refused alike.

    LangGraph puts the next one all the same, which may have all that it needs. It comes later in the same process.
    """

    def __init__(self) -> None:
        self._refused: tuple[tuple[CheckpointRef, Callable[[], None]], ...] = ()

    def refuse(self, ref: CheckpointRef, id: str, refusal: Callable[[], None]) -> None:
        """Raise what a refusal raises, if it does, having noted the checkpoint that is to follow ``ref``."""
        try:
            refusal()
        except CharmError:
            self._refused = (*self._refused, (CheckpointRef(ref.thread, ref.ns, id), refusal))[-REMEMBERED:]
            raise

    def taken(self, ref: CheckpointRef) -> None:
        """Take note of a checkpoint that was stored, perhaps at another try."""
        if self._refused:
            self._refused = tuple(each for each in self._refused if each[0] != ref)

    def refuse_follower(self, ref: CheckpointRef, id: str) -> None:
        """Refuse a checkpoint that is to follow one which was refused."""
        for refused, refusal in self._refused:
            if refused == ref:
                self.refuse(ref, id, refusal)


def refuse_existing(thread: str, reply: WriteResult) -> None:
    """Raise `ThreadExists` if a copy would have to replace something."""
    if reply.outcome == "conflict":
        raise ThreadExists(f"Thread {thread!r} already holds checkpoints; delete it first or copy to another id.")

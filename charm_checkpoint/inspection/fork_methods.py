"""What a `Memory` offers to go back to a checkpoint."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from charm_checkpoint.errors import CheckpointNotFound
from charm_checkpoint.saver.refs import names
from charm_checkpoint.session import Session, Step, adrive, drive

if TYPE_CHECKING:
    from charm_checkpoint.runtime.once import once
    from charm_checkpoint.saver.checkpointer import CharmSaver
    from charm_checkpoint.store import Store


class Forks:
    """Going back: a copy of an older checkpoint becomes the head, in its thread or in a new one."""

    store: Store
    _saver: once[CharmSaver]

    def fork(self, thread_id: str, checkpoint: str | int | None = None, *, to: str | None = None) -> str:
        """Put a copy of a checkpoint at the head of its thread, and return its id: the next run goes on from there.

        Nothing is removed: what came after it stays as a branch. With ``to`` the copy begins a new thread, which has
        the checkpoints that led to it and nothing that came after; it appears when it is whole. Questions and errors
        of the checkpoint are not in the copy: a run has its nodes run anew. ``checkpoint`` is as in `state`, the head
        if none is named.

        Raises `ThreadNotFound`, `CheckpointNotFound`, and `ThreadExists` if there is a thread ``to``.
        """
        return drive(self.store, self._fork(thread_id, checkpoint, to))

    async def afork(self, thread_id: str, checkpoint: str | int | None = None, *, to: str | None = None) -> str:
        """Put a copy of a checkpoint at the head of its thread, or of a new one; see `fork`."""
        return await adrive(self.store, self._fork(thread_id, checkpoint, to))

    def _fork(self, thread_id: str, checkpoint: str | int | None, to: str | None) -> Session[str]:
        from charm_checkpoint.inspection.forking import forking_of  # only for who forks
        from charm_checkpoint.inspection.naming import checkpoint_id

        [thread] = names([thread_id], "thread_id")
        target = None if to is None else names([to], "to")[0]
        id = yield Step(partial(checkpoint_id, self.store.backend, thread, "", checkpoint), thread)
        if id is None:
            raise CheckpointNotFound(f"The thread {thread!r} holds messages only, and no checkpoint to go back to.")
        forking = forking_of(self.store, self._saver)
        if target is None:
            return (yield from forking.here(thread, id))
        return (yield from forking.anew(thread, id, target))

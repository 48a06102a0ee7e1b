"""Going back to a checkpoint: a copy of it becomes the head, of its thread, or of a new one with what led to it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from hashlib import blake2b
from typing import TYPE_CHECKING, NamedTuple

from langgraph.checkpoint.base import CheckpointTuple

from charm_checkpoint.contract import Backend, CheckpointRow, Query
from charm_checkpoint.errors import CharmError, CheckpointNotFound, ThreadExists, id_text
from charm_checkpoint.saver.forked import forked
from charm_checkpoint.saver.history import CheckpointKey, Decode, root_of, with_delta_history
from charm_checkpoint.saver.merging import merged_metadata
from charm_checkpoint.saver.plans import Put, SaverPlans
from charm_checkpoint.saver.refs import CheckpointRef, config_of
from charm_checkpoint.saver.refusals import refuse_existing
from charm_checkpoint.saver.threads import COPYING, removed_staging
from charm_checkpoint.session import Session, Step

if TYPE_CHECKING:
    from charm_checkpoint.saver.checkpointer import CharmSaver
    from charm_checkpoint.store import Store


class Forking(NamedTuple):
    """The sessions by which a saver forks; ``forget`` has it know nothing more of a thread."""

    backend: Backend
    plans: SaverPlans
    forget: Callable[[str], None]

    def here(self, thread: str, id: str) -> Session[str]:
        """Put a copy of a checkpoint at the head of its thread; return its id."""
        found = yield from self._found(thread, thread, id)
        return (yield from self._put(thread, found))

    def anew(self, thread: str, id: str, target: str) -> Session[str]:
        """Begin a thread with a copy of a checkpoint and what led to it; return the copy's id.

        It appears when it is whole: it is put together under another name, which a fork that was killed leaves behind
        until it is made again.
        """
        there = yield Step(partial(self.backend.page, Query(target), None, 1, writes=False), target)
        if there.items:
            raise ThreadExists(f"There is a thread {target!r} already; give another name.")
        staging = staging_of(target)
        yield Step(partial(self.backend.delete_thread, staging), staging, write=True)
        self.forget(staging)
        try:
            made = yield from self._begun(thread, id, staging)
            refuse_existing(
                target, (yield Step(partial(self.backend.copy_thread, staging, target), target, write=True))
            )
        except CharmError:
            yield from self._remove(staging)
            raise
        yield from self._remove(staging)
        self.forget(target)
        return made

    def _begun(self, thread: str, id: str, staging: str) -> Session[str]:
        """Put the new thread together."""
        yield Step(partial(self.backend.copy_thread, thread, staging), thread, write=True)
        found = yield from self._found(staging, thread, id)
        made = yield from self._put(staging, found)
        yield from self.plans.removals.keep(staging, partial(leading_to, id=id, made=made), thread)
        return made

    def leading(self, thread: str, id: str) -> Session[int]:
        """Count the checkpoints that led to one, which a new thread would have beside the copy."""
        choose = partial(leading_to, id=id, made=None)
        kept: int = yield Step(partial(self.plans.removals.count, thread, choose), thread)
        return kept

    def _found(self, thread: str, named: str, id: str) -> Session[CheckpointTuple]:
        _, found = yield Step(partial(self.plans.reads.get_tuple, CheckpointRef(thread, "", id)), named)
        if found is None:
            raise no_checkpoint(named, id)
        revived: CheckpointTuple = found
        return revived

    def _put(self, thread: str, found: CheckpointTuple) -> Session[str]:
        """Put a copy behind the checkpoint's own parent, as LangGraph copies a checkpoint."""
        parent = None if found.parent_config is None else found.parent_config["configurable"]["checkpoint_id"]
        ref = CheckpointRef(thread, "", parent)
        checkpoint, metadata = forked(found)
        merged = merged_metadata(config_of(thread, "", parent or ""), metadata)
        put: Put = yield Step(partial(self.plans.put, ref, checkpoint, merged, {}, "allow", None), thread, write=True)
        if put.reply.outcome == "deleted":  # which may be the checkpoint before this one alone
            raise no_checkpoint(thread, found.config["configurable"]["checkpoint_id"])
        put.remember()
        return str(checkpoint["id"])

    def _remove(self, staging: str) -> Session[None]:
        yield Step(partial(removed_staging, self.backend, staging), staging, write=True)
        self.forget(staging)


def no_checkpoint(thread: str, id: str) -> CheckpointNotFound:
    """Return the error for a checkpoint to fork that is not there."""
    return CheckpointNotFound(f"The thread {thread!r} has no checkpoint {id_text(id)}, or no longer.")


def staging_of(target: str) -> str:
    """Return the name under which a thread that a fork begins is put together."""
    return COPYING + blake2b(b"fork" + target.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def forking_of(store: Store, saver: CharmSaver) -> Forking:
    """Return what forks the threads of a store."""
    return Forking(store.backend, saver.plans, saver.forget_thread)


def leading_to(rows: Iterable[CheckpointRow], decode: Decode, *, id: str, made: str | None) -> set[CheckpointKey]:
    """Return what of a thread led to a checkpoint of the root graph, and the copy that was ``made`` of it.

    That is its ancestors; the subgraphs' checkpoints that were made under these; and what delta channels of all of
    them are rebuilt from. The checkpoint itself is not among them: what came after it is told beside it.
    """
    by_key = {(row.ns, row.id): row for row in rows}
    line = _ancestors(by_key, id)
    since = by_key["", id].seq if ("", id) in by_key else 0
    kept: set[CheckpointKey] = {("", each) for each in line}
    if made is not None:
        kept.add(("", made))
    for key, row in by_key.items():
        if row.ns:
            root = root_of(decode(row))
            if root in line or (root is None and row.seq < since):
                kept.add(key)
    return with_delta_history(kept, by_key, decode)


def _ancestors(by_key: Mapping[CheckpointKey, CheckpointRow], id: str) -> set[str]:
    found: set[str] = set()
    row = by_key.get(("", id))
    while row is not None and row.parent is not None and row.parent not in found:
        row = by_key.get(("", row.parent))
        if row is not None:
            found.add(row.id)
    return found

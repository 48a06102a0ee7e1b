"""The LangGraph checkpointer: plans first, then the blocking methods, then the async ones."""

from __future__ import annotations

import copy
import random
from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    DeltaChannelHistory,
)

from charm_checkpoint import seen
from charm_checkpoint.contract import Found, Query, Reply
from charm_checkpoint.errors import ConfigError, ThreadConflict, ThreadDeleted, ThreadExists
from charm_checkpoint.filters import wanted_tags
from charm_checkpoint.plan import Plan
from charm_checkpoint.reader import ChunkReader
from charm_checkpoint.records import CONFLICT_KEY, Where, config_of, encode_writes, merged_metadata, where
from charm_checkpoint.saver_plans import OnConflict, Put, SaverPlans, log
from charm_checkpoint.serde import Serializer
from charm_checkpoint.store import Store

PAGE = 50
"""Checkpoints read at a time by `CharmSaver.list`."""
CACHE_BYTES = 64 << 20
"""Memory a saver may use to keep what it read, unless told otherwise."""


class CharmSaver(BaseCheckpointSaver[Any]):
    """Save checkpoints in a store; one object for any thread and event loop, blocking or async.

    ``on_conflict`` says what becomes of a checkpoint whose parent is no longer the head:
    ``warn`` keeps it as a branch, logs it and marks it in its metadata (``charm_conflict``),
    ``raise`` refuses it with `ThreadConflict`, ``allow`` keeps it without a word.

    Raises, from any method, `StoreError` and its kin, `ConfigError` for a config it cannot
    read, `DataError` for a value that cannot be stored or restored.
    """

    serde: Serializer

    def __init__(
        self,
        store: Store,
        *,
        serde: Serializer | None = None,
        on_conflict: OnConflict = "warn",
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        super().__init__(serde=serde or Serializer())
        self.on_conflict: OnConflict = on_conflict
        self._store = store
        self._backend = store.backend
        self._reader = ChunkReader(store.backend, cache_bytes)
        self._plans = SaverPlans(store.backend, self.serde, self._reader)

    def with_allowlist(self, extra_allowlist: Collection[tuple[str, ...] | type]) -> CharmSaver:
        """Return a saver on the same store that revives only safe, registered and these types."""
        clone = copy.copy(self)
        clone.serde = self.serde.with_allowlist(extra_allowlist)
        clone._plans = SaverPlans(self._backend, clone.serde, self._reader)
        return clone

    def get_next_version(self, current: Any, channel: None) -> Any:
        """Return the version after ``current``: integers, or strings where a thread has them."""
        if isinstance(current, str):
            # The form other savers and LangGraph's server give to theirs.
            return f"{int(current.split('.')[0]) + 1:032}.{random.random():016}"
        return 1 if current is None else current + 1

    # -------------------------------------------------------------- around plans

    def _noted(self, place: Where, result: tuple[Found, CheckpointTuple | None]) -> CheckpointTuple | None:
        found, revived = result
        id = found.row.id if found.row else None
        seen.note_read(
            self._store.number, place.thread, found.state.deletes,
            ns=place.ns, asked=place.id, found=id, head=found.head,
        )  # fmt: skip
        return revived

    def _planned_put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> tuple[Where, partial[Plan[Put]]]:
        place = where(config)
        merged = merged_metadata(config, metadata)
        recalled = seen.recall(self._store.number, place.thread)
        addressed = recalled is not None and (place.ns, place.id) in recalled.addressed
        # A fork, a state update and a run sent to an older checkpoint leave the head on
        # purpose; a subgraph's namespace follows its parent's.
        free = place.ns or addressed or merged.get("source") in ("fork", "update")
        on_conflict: OnConflict = "allow" if free else self.on_conflict
        deletes = recalled.deletes if recalled else None
        return place, partial(self._plans.put, place, checkpoint, merged, new_versions, on_conflict, deletes)

    def _put_done(self, place: Where, id: str, put: Put) -> RunnableConfig:
        reply = put.reply
        _refuse_deleted(place, reply)
        if reply.outcome == "conflict":
            raise ThreadConflict(
                f"Thread {place.thread!r}: another writer's checkpoint {reply.head} is the head; this one follows "
                f"{place.id or 'nothing'}. Nothing was written. Run it again: a new run starts from the head.",
                parent=place.id,
                head=reply.head,
            )
        put.remember()
        if reply.conflict:
            log.warning(
                "Thread %r: checkpoint %s follows %s, but the head was %s: two runs met. Both are kept; this one is "
                "the head now, marked %r in its metadata.",
                place.thread, id, place.id, reply.head, CONFLICT_KEY,
            )  # fmt: skip
        return config_of(place.thread, place.ns, id)

    def _planned_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str
    ) -> tuple[Where, partial[Plan[Reply]]]:
        place = where(config)
        if place.id is None:
            raise ConfigError("configurable.checkpoint_id is missing: writes belong to a checkpoint.")
        body = encode_writes(self.serde, writes, task_id, task_path)
        recalled = seen.recall(self._store.number, place.thread)
        return place, partial(self._plans.put_writes, place, body, recalled.deletes if recalled else None)

    def _forget(self, thread: str) -> None:
        self._plans.forget(thread)
        seen.forget(self._store.number, thread)

    # -------------------------------------------------------------- blocking

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """Return the checkpoint a config names, the last one committed if it names none."""
        place = where(config)
        return self._noted(place, self._store.run(partial(self._plans.get_tuple, place), write=False))

    def list(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> Iterator[CheckpointTuple]:
        """Yield checkpoints, last committed first; with no config, of all threads.

        ``filter`` compares metadata entries as JSON; ``before`` is exclusive.
        """
        listing = _Listing(config, filter, before, limit)
        while listing.size:
            yield from listing.take(self._store.run(listing.next_page(self), write=False))

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Commit a checkpoint after the one the config names; return the config that names it."""
        place, plan = self._planned_put(config, checkpoint, metadata, new_versions)
        return self._put_done(place, checkpoint["id"], self._store.run(plan, write=True))

    def put_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """Store a task's writes for the checkpoint the config names."""
        place, plan = self._planned_writes(config, writes, task_id, task_path)
        _refuse_deleted(place, self._store.run(plan, write=True))

    def delete_thread(self, thread_id: str) -> None:
        """Delete a thread's checkpoints and writes; runs that go on are refused (`ThreadDeleted`)."""
        self._store.run(partial(self._backend.delete_thread, _name(thread_id)), write=True)
        self._forget(_name(thread_id))

    def delete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Delete the checkpoints that runs made, with their writes, in all threads."""
        for thread in self._store.run(partial(self._plans.delete_for_runs, run_ids), write=True):
            self._plans.forget(thread)

    def copy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Copy a thread's checkpoints and writes; raises `ThreadExists` if the target has any."""
        plan = partial(self._backend.copy_thread, _name(source_thread_id), _name(target_thread_id))
        _refuse_existing(target_thread_id, self._store.run(plan, write=True))

    def prune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """Keep only the latest checkpoint of each namespace, or none (``delete``, ``delete_all``).

        Ancestors that a delta channel of the kept is rebuilt from stay too.
        """
        _check_strategy(strategy)
        for thread in map(_name, thread_ids):
            self._store.run(partial(self._plans.prune, thread, strategy), write=True)
            self._plans.forget(thread)

    def get_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """Return each channel's writes up to its nearest stored value, oldest first, and that value."""
        return self._store.run(partial(self._plans.history, where(config), channels), write=False)

    # -------------------------------------------------------------- async

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """Return the checkpoint a config names; see `get_tuple`."""
        place = where(config)
        return self._noted(place, await self._store.arun(partial(self._plans.get_tuple, place), write=False))

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        """Yield checkpoints, last committed first; see `list`."""
        listing = _Listing(config, filter, before, limit)
        while listing.size:
            for item in listing.take(await self._store.arun(listing.next_page(self), write=False)):
                yield item

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Commit a checkpoint; see `put`."""
        place, plan = self._planned_put(config, checkpoint, metadata, new_versions)
        return self._put_done(place, checkpoint["id"], await self._store.arun(plan, write=True))

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """Store a task's writes; see `put_writes`."""
        place, plan = self._planned_writes(config, writes, task_id, task_path)
        _refuse_deleted(place, await self._store.arun(plan, write=True))

    async def adelete_thread(self, thread_id: str) -> None:
        """Delete a thread's checkpoints and writes; see `delete_thread`."""
        await self._store.arun(partial(self._backend.delete_thread, _name(thread_id)), write=True)
        self._forget(_name(thread_id))

    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Delete the checkpoints that runs made; see `delete_for_runs`."""
        for thread in await self._store.arun(partial(self._plans.delete_for_runs, run_ids), write=True):
            self._plans.forget(thread)

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Copy a thread's checkpoints and writes; see `copy_thread`."""
        plan = partial(self._backend.copy_thread, _name(source_thread_id), _name(target_thread_id))
        _refuse_existing(target_thread_id, await self._store.arun(plan, write=True))

    async def aprune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """Keep only the latest checkpoints, or none; see `prune`."""
        _check_strategy(strategy)
        for thread in map(_name, thread_ids):
            await self._store.arun(partial(self._plans.prune, thread, strategy), write=True)
            self._plans.forget(thread)

    async def aget_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """Return each channel's writes up to its nearest stored value; see `get_delta_channel_history`."""
        return await self._store.arun(partial(self._plans.history, where(config), channels), write=False)


class _Listing:
    """A listing under way, a page at a time: nothing is held open between pages."""

    def __init__(
        self,
        config: RunnableConfig | None,
        filter: Mapping[str, Any] | None,
        before: RunnableConfig | None,
        limit: int | None,
    ) -> None:
        self._filter = filter or {}
        self._after: Any = None
        self._left = limit
        self.size = PAGE if limit is None else min(PAGE, max(limit, 0))
        configurable = (config or {}).get("configurable") or {}
        place = where(config) if config and "thread_id" in configurable else None
        bound = (before or {}).get("configurable") or {}
        self._query = Query(
            thread=place.thread if place else None,
            ns=configurable.get("checkpoint_ns"),
            id=configurable.get("checkpoint_id") or None,
            before=bound.get("checkpoint_id") or None,
            before_thread=place.thread if place else bound.get("thread_id"),
            tags=wanted_tags(self._filter),
        )

    def next_page(self, saver: CharmSaver) -> partial[Plan[tuple[list[CheckpointTuple], Any]]]:
        """Return the plan of the next page."""
        return partial(saver._plans.page, self._query, self._filter, self._after, self.size)

    def take(self, page: tuple[list[CheckpointTuple], Any]) -> list[CheckpointTuple]:
        """Return what of a page is wanted still; ``size`` becomes 0 at the end."""
        tuples, self._after = page
        if self._left is not None:
            tuples = tuples[: self._left]
            self._left -= len(tuples)
        if self._after is None or self._left == 0:
            self.size = 0
        return tuples


def _name(thread: Any) -> str:
    return where({"configurable": {"thread_id": thread}}).thread


def _check_strategy(strategy: str) -> None:
    if strategy not in ("keep_latest", "delete", "delete_all"):
        raise ConfigError(f"The prune strategy {strategy!r} is not known: use keep_latest, delete or delete_all.")


def _refuse_deleted(place: Where, reply: Reply) -> None:
    if reply.outcome == "deleted":
        raise ThreadDeleted(
            f"Thread {place.thread!r} was deleted after this run began, so its writes are refused. "
            "To begin anew under the same id, start a new run."
        )


def _refuse_existing(thread: str, reply: Reply) -> None:
    if reply.outcome == "conflict":
        raise ThreadExists(f"Thread {thread!r} already holds checkpoints; delete it first or copy to another id.")

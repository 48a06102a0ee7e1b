"""The LangGraph checkpointer: plans first, then the blocking methods, then the async ones."""

from __future__ import annotations

import copy
import random
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import Any, Protocol

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    DeltaChannelHistory,
)

from charm_checkpoint.contract import Backend, StoredCheckpoint, WriteResult
from charm_checkpoint.errors import (
    ConfigError,
    Later,
    StoreCorrupt,
    id_text,
)
from charm_checkpoint.plan import Plan
from charm_checkpoint.runtime.handle import Handle
from charm_checkpoint.saver import run_context
from charm_checkpoint.saver.conn_string import OfficialNames
from charm_checkpoint.saver.in_flight import PUT_LOOKS, WRITES_LOOKS, InFlight
from charm_checkpoint.saver.listing import Lists
from charm_checkpoint.saver.merging import merged_metadata
from charm_checkpoint.saver.plans import OnConflict, Put, SaverPlans
from charm_checkpoint.saver.reads import log
from charm_checkpoint.saver.records import CONFLICT_KEY
from charm_checkpoint.saver.refs import CheckpointRef, checkpoint_ref, config_of, names
from charm_checkpoint.saver.refusals import refuse_conflict, refuse_deleted, refuse_existing
from charm_checkpoint.saver.waiting import tell_of_gone
from charm_checkpoint.session import adrive, drive
from charm_checkpoint.store import Store, need_asyncio
from charm_checkpoint.values.chunk_reader import ChunkReader
from charm_checkpoint.values.serde import Serializer, checked


class TakesNote(Protocol):
    """What wants to know of checkpoints that were put."""

    def noted(self, thread: str) -> None:
        """Take note of one, in a blocking call."""
        ...

    def anoted(self, thread: str) -> None:
        """Take note of one, in an event loop."""
        ...


class CharmSaver(OfficialNames, Lists, Handle, BaseCheckpointSaver[Any]):
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
    ) -> None:
        if not isinstance(store, Store):
            raise ConfigError(
                f"CharmSaver takes a store and not a {type(store).__name__}: use CharmSaver.from_conn_string(url), or "
                "open_memory(url).get_langgraph_checkpointer()."
            )
        super().__init__(serde=checked(serde))
        self.on_conflict: OnConflict = on_conflict
        self.keeper: TakesNote | None = None
        self._store = store
        self._backend = store.backend
        self._reader = ChunkReader(store.backend, store.budget, store.limits)
        self._plans = SaverPlans(store.backend, self.serde, self._reader, store.budget, store.limits)
        self._puts, self._writes = InFlight(PUT_LOOKS), InFlight(WRITES_LOOKS)

    def with_allowlist(self, extra_allowlist: Collection[tuple[str, ...] | type]) -> CharmSaver:
        """Return a saver on the same store that revives only safe, registered and these types."""
        clone = copy.copy(self)
        clone.serde = self.serde.with_allowlist(extra_allowlist)
        store = self._store
        clone._plans = SaverPlans(store.backend, clone.serde, self._reader, store.budget, store.limits)
        return clone

    def get_next_version(self, current: Any, channel: None) -> Any:
        """Return the version after ``current``: integers, or strings where a thread has them."""
        if isinstance(current, str):
            # The form other savers and LangGraph's server give to theirs.
            return f"{int(current.split('.')[0]) + 1:032}.{random.random():016}"
        return 1 if current is None else current + 1

    # -------------------------------------------------------------- around plans

    def _noted(
        self, config: RunnableConfig, ref: CheckpointRef, result: tuple[StoredCheckpoint, CheckpointTuple | None]
    ) -> CheckpointTuple | None:
        found, revived = result
        id = found.row.id if found.row else None
        run_context.note_read(
            config, self._store.number, ref.thread, found.state.deletes,
            ns=ref.ns, asked=ref.id, found=id, head=found.head,
        )  # fmt: skip
        self._hold(config, ref.thread)
        if revived is not None and run_context.is_run(config):
            tell_of_gone(ref, revived.checkpoint)
        return revived

    def _hold(self, config: RunnableConfig, thread: str) -> None:
        """Let a run have what is known of its thread to its end, whatever other threads are met meanwhile."""
        run_context.hold(config, self._store.number, thread, self._plans.known.thread)

    def _planned_put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> tuple[CheckpointRef, partial[Plan[Put]]]:
        ref = checkpoint_ref(config)
        merged = merged_metadata(config, metadata)
        recalled = run_context.recall(config, self._store.number, ref.thread)
        addressed = recalled is not None and (ref.ns, ref.id) in recalled.addressed
        # A fork, a state update and a run sent to an older checkpoint leave the head on
        # purpose; a subgraph's namespace follows its parent's.
        free = ref.ns or addressed or merged.get("source") in ("fork", "update")
        on_conflict: OnConflict = "allow" if free else self.on_conflict
        deletes = recalled.deletes if recalled else None
        return ref, partial(self._plans.put, ref, checkpoint, merged, new_versions, on_conflict, deletes)

    def _put_done(self, config: RunnableConfig, ref: CheckpointRef, id: str, put: Put) -> RunnableConfig:
        reply = put.reply
        refuse_deleted(ref, reply)
        refuse_conflict(ref, reply)
        put.remember()
        self._hold(config, ref.thread)
        if reply.conflict:
            log.warning(
                "Thread %r: checkpoint %s follows %s, but the head was %s: two runs met. Both are kept; this one is "
                "the head now, marked %r in its metadata.",
                ref.thread, *map(id_text, (id, ref.id, reply.head)), CONFLICT_KEY,
            )  # fmt: skip
        return config_of(ref.thread, ref.ns, id)

    def _planned_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str
    ) -> tuple[CheckpointRef, partial[Plan[WriteResult]]]:
        ref = checkpoint_ref(config)
        if ref.id is None:
            raise ConfigError("configurable.checkpoint_id is missing: writes belong to a checkpoint.")
        recalled = run_context.recall(config, self._store.number, ref.thread)
        deletes = recalled.deletes if recalled else None
        return ref, partial(self._plans.put_writes, ref, writes, task_id, task_path, deletes)

    @property
    def plans(self) -> SaverPlans:
        """The plans by which it reads, puts and removes, for who does several of these together."""
        return self._plans

    def forget_chunks(self, thread: str) -> None:
        """Forget which chunks a thread has: what is put next is sent whole."""
        self._plans.known.forget(thread)

    def forget_thread(self, thread: str) -> None:
        """Forget all that is known of a thread: what is done next in it starts afresh."""
        self._plans.known.forget(thread)
        run_context.forget(self._store.number, thread)

    def _pruned(self, thread: str, strategy: str) -> None:
        if strategy == "keep_latest":
            self._plans.known.forget(thread)
        else:
            self.forget_thread(thread)  # it was deleted, and whoever does that may start afresh at once

    # -------------------------------------------------------------- blocking

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """Return the checkpoint a config names, the last one committed if it names none."""
        ref = checkpoint_ref(config)
        found = self._store.run(partial(self._plans.reads.get_tuple, ref), write=False, thread=ref.thread)
        return self._noted(config, ref, found)

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Commit a checkpoint after the one the config names; return the config that names it."""
        ref, plan = self._planned_put(config, checkpoint, metadata, new_versions)
        made = self._put_done(config, ref, checkpoint["id"], self._store.run(plan, write=True, thread=ref.thread))
        if self.keeper is not None:
            self.keeper.noted(ref.thread)
        return made

    def put_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """Store a task's writes for the checkpoint the config names."""
        ref, plan = self._planned_writes(config, writes, task_id, task_path)
        refuse_deleted(ref, self._store.run(plan, write=True, thread=ref.thread))

    def delete_thread(self, thread_id: str) -> None:
        """Delete a thread's checkpoints and writes; runs that go on are refused (`ThreadDeleted`)."""
        thread = _name(thread_id)
        self._store.run(partial(self._backend.delete_thread, thread), write=True, thread=thread)
        self.forget_thread(thread)

    def delete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Delete the checkpoints that runs made, with their writes, in all threads.

        A damaged thread is told of once the others are done.
        """
        threads, later = drive(self._store, self._plans.removals.delete_for_runs(names(run_ids, "run_id")))
        for thread in threads:
            self._plans.known.forget(thread)
        later.tell()

    def copy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Copy a thread's checkpoints and writes; raises `ThreadExists` if the target has any."""
        plan = partial(_copied, self._backend, _name(source_thread_id), _name(target_thread_id))
        refuse_existing(target_thread_id, self._store.run(plan, write=True))
        self.forget_thread(_name(target_thread_id))  # what was seen there before was of another thread

    def prune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """Keep only the latest checkpoint of each namespace, or none (``delete``, ``delete_all``).

        Ancestors that a delta channel of the kept is rebuilt from stay too. A damaged thread is told of once the
        others are done.
        """
        _check_strategy(strategy)
        later = Later()
        for thread in names(thread_ids, "thread_id"):
            with later:
                drive(self._store, self._plans.removals.prune(thread, strategy))
            self._pruned(thread, strategy)
        later.tell()

    def get_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """Return each channel's writes up to its nearest stored value, oldest first, and that value."""
        ref = checkpoint_ref(config)
        return self._store.run(partial(self._plans.reads.history, ref, channels), write=False, thread=ref.thread)

    # -------------------------------------------------------------- async

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """Return the checkpoint a config names; see `get_tuple`."""
        ref = checkpoint_ref(config)
        if ref.id is None:
            await self._writes.settled(ref[:2])
            await self._puts.settled(ref[:2])
        found = await self._store.arun(partial(self._plans.reads.get_tuple, ref), write=False, thread=ref.thread)
        return self._noted(config, ref, found)

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Commit a checkpoint; see `put`."""
        need_asyncio()
        ref, plan = self._planned_put(config, checkpoint, metadata, new_versions)
        token = self._puts.begin(ref[:2])
        try:
            made = self._put_done(
                config, ref, checkpoint["id"], await self._store.arun(plan, write=True, thread=ref.thread)
            )
        finally:
            self._puts.end(ref[:2], token)
        if self.keeper is not None:
            self.keeper.anoted(ref.thread)
        return made

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """Store a task's writes; see `put_writes`."""
        need_asyncio()
        ref, plan = self._planned_writes(config, writes, task_id, task_path)
        token = self._writes.begin(ref[:2])
        try:
            refuse_deleted(ref, await self._store.arun(plan, write=True, thread=ref.thread))
        finally:
            self._writes.end(ref[:2], token)

    async def adelete_thread(self, thread_id: str) -> None:
        """Delete a thread's checkpoints and writes; see `delete_thread`."""
        thread = _name(thread_id)
        await self._store.arun(partial(self._backend.delete_thread, thread), write=True, thread=thread)
        self.forget_thread(thread)

    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Delete the checkpoints that runs made; see `delete_for_runs`."""
        threads, later = await adrive(self._store, self._plans.removals.delete_for_runs(names(run_ids, "run_id")))
        for thread in threads:
            self._plans.known.forget(thread)
        later.tell()

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Copy a thread's checkpoints and writes; see `copy_thread`."""
        plan = partial(_copied, self._backend, _name(source_thread_id), _name(target_thread_id))
        refuse_existing(target_thread_id, await self._store.arun(plan, write=True))
        self.forget_thread(_name(target_thread_id))

    async def aprune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """Keep only the latest checkpoints, or none; see `prune`."""
        _check_strategy(strategy)
        later = Later()
        for thread in names(thread_ids, "thread_id"):
            with later:
                await adrive(self._store, self._plans.removals.prune(thread, strategy))
            self._pruned(thread, strategy)
        later.tell()

    async def aget_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """Return each channel's writes up to its nearest stored value; see `get_delta_channel_history`."""
        ref = checkpoint_ref(config)
        return await self._store.arun(partial(self._plans.reads.history, ref, channels), write=False, thread=ref.thread)


def _name(thread: Any) -> str:
    return checkpoint_ref({"configurable": {"thread_id": thread}}).thread


def _copied(backend: Backend, source: str, target: str) -> Plan[WriteResult]:
    """Copy a thread; what is damaged may be of either, so that an error names both."""
    try:
        return (yield from backend.copy_thread(source, target))
    except StoreCorrupt as error:
        if error.place is None:
            error.place = f"Thread {source!r} or {target!r}"
        raise


def _check_strategy(strategy: str) -> None:
    if strategy not in ("keep_latest", "delete", "delete_all"):
        raise ConfigError(f"The prune strategy {strategy!r} is not known: use keep_latest, delete or delete_all.")

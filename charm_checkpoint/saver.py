"""The LangGraph checkpointer: plans first, then the blocking methods, then the async ones."""

from __future__ import annotations

import copy
import logging
import random
from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Literal

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    DeltaChannelHistory,
    PendingWrite,
)

from charm_checkpoint import seen
from charm_checkpoint.codec import Codec, Encoder, Entry
from charm_checkpoint.contract import CheckpointRow, Found, NewCheckpoint, NewWrites, Query, Reply
from charm_checkpoint.errors import ConfigError, DataError, StoreUnavailable, ThreadConflict, ThreadDeleted, ThreadExists
from charm_checkpoint.filters import matches, tags, wanted_tags
from charm_checkpoint.history import doomed_by_prune, walk, with_delta_history
from charm_checkpoint.memo import Channels, Memo, ThreadMemo
from charm_checkpoint.plan import Plan
from charm_checkpoint.reader import ChunkReader
from charm_checkpoint.records import (
    CONFLICT_KEY,
    Record,
    Where,
    config_of,
    decode_record,
    decode_writes,
    encode_record,
    encode_writes,
    merged_metadata,
    where,
)
from charm_checkpoint.revive import Reviver, split
from charm_checkpoint.serde import Serializer
from charm_checkpoint.store import Store

log = logging.getLogger("charm_checkpoint")

OnConflict = Literal["allow", "warn", "raise"]

PAGE = 50
"""Checkpoints read at a time by `CharmSaver.list`."""
OUTLINE = 1000
"""Checkpoints read at a time, without their values, by `CharmSaver.prune`."""
CACHE_BYTES = 64 << 20
"""Memory a saver may use to keep what it read, unless told otherwise."""
ATTEMPTS = 20
"""How often a prune starts again because the thread changed under it."""


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
        self._use(self.serde)

    def _use(self, serde: Serializer) -> None:
        self.serde = serde
        self._codec = Codec(serde)
        self._memo = Memo()

    def with_allowlist(self, extra_allowlist: Collection[tuple[str, ...] | type]) -> CharmSaver:
        """Return a saver on the same store that revives only safe, registered and these types."""
        clone = copy.copy(self)
        clone._use(self.serde.with_allowlist(extra_allowlist))
        return clone

    def get_next_version(self, current: Any, channel: None) -> Any:
        """Return the version after ``current``: integers, or strings where a thread has them."""
        if isinstance(current, str):
            # The form other savers and LangGraph's server give to theirs.
            return f"{int(current.split('.')[0]) + 1:032}.{random.random():016}"
        return 1 if current is None else current + 1

    # -------------------------------------------------------------- plans: reading

    def _get_tuple(self, place: Where) -> Plan[tuple[Found, CheckpointTuple | None]]:
        found = yield from self._backend.find(*place)
        if found.row is None:
            return found, None
        return found, (yield from self._revived(found, found.row, self._decode(found.row)))

    def _decode(self, row: CheckpointRow) -> Record:
        record = decode_record(self.serde, row.id, row.body, row.roots)
        if row.conflict is not None:
            record.metadata[CONFLICT_KEY] = row.conflict
        return record

    def _revived(self, found: Found, row: CheckpointRow, record: Record) -> Plan[CheckpointTuple]:
        """Build the tuple of a checkpoint, and remember where its values are."""
        chunks = yield from self._reader.gather(row.thread, split(row.roots), found.chunks)
        reviver = Reviver(self.serde, chunks)
        values, channels = record.checkpoint["channel_values"], {}
        for name, entry in record.channels.items():
            values[name], leaves = _value(reviver, name, entry)
            channels[name] = (record.checkpoint["channel_versions"].get(name), entry._replace(leaves=leaves))
        memo = self._memo.at(row.thread, found.state.deletes, found.state.sweeps)
        memo.known.update(chunks)
        memo.keep(row.ns, row.id, channels)
        return CheckpointTuple(
            config_of(row.thread, row.ns, row.id),
            record.checkpoint,  # type: ignore[arg-type]
            record.metadata,  # type: ignore[arg-type]
            config_of(row.thread, row.ns, row.parent) if row.parent else None,
            decode_writes(self.serde, found.writes),
        )

    def _page(
        self, query: Query, filter: Mapping[str, Any], after: Any, size: int
    ) -> Plan[tuple[list[CheckpointTuple], Any]]:
        page = yield from self._backend.page(query, after, size)
        tuples = []
        for found in page.items:
            assert found.row is not None
            record = self._decode(found.row)
            if matches(record.metadata, filter):
                tuples.append((yield from self._revived(found, found.row, record)))
        return tuples, page.next

    def _history(self, place: Where, channels: Sequence[str]) -> Plan[dict[str, DeltaChannelHistory]]:
        writes: dict[str, list[PendingWrite]] = {name: [] for name in channels}
        seeds: dict[str, tuple[Found, Entry]] = {}

        def visit(found: Found) -> bool:
            assert found.row is not None
            for write in reversed(decode_writes(self.serde, found.writes)):
                if write[1] in writes and write[1] not in seeds:
                    writes[write[1]].append(write)
            located = self._decode(found.row).channels
            seeds.update({name: (found, located[name]) for name in writes if name in located and name not in seeds})
            return len(seeds) < len(writes)

        yield from walk(self._backend, *place, visit)
        history: dict[str, DeltaChannelHistory] = {name: {"writes": found[::-1]} for name, found in writes.items()}
        for name, (found, entry) in seeds.items():
            refs = [entry.ref] if entry.ref is not None else []
            chunks = yield from self._reader.gather(place.thread, refs, found.chunks)
            history[name]["seed"] = _value(Reviver(self.serde, chunks), name, entry)[0]
        return history

    # -------------------------------------------------------------- plans: writing

    def _put(
        self,
        place: Where,
        checkpoint: Checkpoint,
        metadata: dict[str, Any],
        new_versions: ChannelVersions,
        on_conflict: OnConflict,
        seen_deletes: int | None,
    ) -> Plan[Reply]:
        memo = self._memo.thread(place.thread)
        while True:
            encoder = Encoder(self._codec, memo.known if memo else frozenset())
            channels = self._encoded(encoder, memo, place, checkpoint, new_versions)
            body, roots = encode_record(
                self.serde, checkpoint, metadata, {name: entry for name, (_, entry) in channels.items()}
            )
            base = None if memo is None or encoder.complete else memo.sweeps
            run_id = metadata.get("run_id")
            reply = yield from self._backend.put(
                NewCheckpoint(
                    place.thread, place.ns, checkpoint["id"], place.id, body, roots, tags(metadata),
                    run_id if isinstance(run_id, str) else None,
                    list(encoder.chunks.values()), base, seen_deletes, on_conflict,
                )
            )  # fmt: skip
            if reply.outcome != "stale":
                break
            memo = None
        if reply.outcome == "stored":
            memo = self._memo.at(place.thread, reply.state.deletes, reply.state.sweeps)
            memo.known.update(encoder.chunks)
            memo.keep(place.ns, checkpoint["id"], channels)
        return reply

    def _encoded(
        self,
        encoder: Encoder,
        memo: ThreadMemo | None,
        place: Where,
        checkpoint: Checkpoint,
        new_versions: ChannelVersions,
    ) -> Channels:
        """Encode the values; those of channels that did not change are where the parent has them."""
        before = memo.channels(place.ns, place.id) if memo else {}
        versions = checkpoint["channel_versions"]
        channels = {}
        for name, value in checkpoint["channel_values"].items():
            version = versions.get(name)
            held = before.get(name)
            if held is not None and version is not None and name not in new_versions and held[0] == version:
                channels[name] = held
                encoder.complete = False
                continue
            try:
                channels[name] = (version, encoder.value(value, memo.leaves(place.ns, name) if memo else ()))
            except DataError as error:
                raise error.at("channel_values", name) from None
        return channels

    def _put_writes(self, place: Where, body: bytes, seen_deletes: int | None) -> Plan[Reply]:
        return (
            yield from self._backend.put_writes(NewWrites(place.thread, place.ns, place.id or "", body, seen_deletes))
        )

    def _prune(self, thread: str, strategy: str) -> Plan[None]:
        if strategy != "keep_latest":
            yield from self._backend.delete_thread(thread)
            return
        for _ in range(ATTEMPTS):
            rows, seq = yield from self._outline(thread)
            doomed = doomed_by_prune(rows, self._decode)
            if not doomed:
                return
            reply = yield from self._backend.remove(thread, doomed, seq)
            if reply.outcome == "stored":
                return
        raise StoreUnavailable(f"Thread {thread!r} kept changing while it was pruned; nothing was removed, try again.")

    def _outline(self, thread: str) -> Plan[tuple[list[CheckpointRow], int | None]]:
        """Return all checkpoints of a thread without their values, and the ``seq`` they were read under."""
        rows: list[CheckpointRow] = []
        seq, after = None, None
        while True:
            page = yield from self._backend.page(Query(thread), after, OUTLINE, writes=False)
            if page.items and seq is None:
                seq = page.items[0].state.seq
            rows += [found.row for found in page.items if found.row is not None]
            after = page.next
            if after is None:
                return rows, seq

    def _delete_for_runs(self, run_ids: Sequence[str]) -> Plan[list[str]]:
        doomed: dict[str, set[tuple[str, str]]] = {}
        for thread, ns, id in (yield from self._backend.runs(list(run_ids))):
            doomed.setdefault(thread, set()).add((ns, id))
        for thread, places in doomed.items():
            rows, _ = yield from self._outline(thread)
            by_place = {(row.ns, row.id): row for row in rows}
            needed = with_delta_history(set(by_place) - places, by_place, self._decode) & places
            if needed:
                log.warning(
                    "Thread %r: %d checkpoints of deleted runs stay, later ones are built on their writes.",
                    thread,
                    len(needed),
                )
            yield from self._backend.remove(thread, places - needed, None)
        return list(doomed)

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
    ) -> tuple[Where, partial[Plan[Reply]]]:
        place = where(config)
        merged = merged_metadata(config, metadata)
        recalled = seen.recall(self._store.number, place.thread)
        addressed = recalled is not None and (place.ns, place.id) in recalled.addressed
        # A fork, a state update and a run sent to an older checkpoint leave the head on
        # purpose; a subgraph's namespace follows its parent's.
        free = place.ns or addressed or merged.get("source") in ("fork", "update")
        on_conflict: OnConflict = "allow" if free else self.on_conflict
        deletes = recalled.deletes if recalled else None
        return place, partial(self._put, place, checkpoint, merged, new_versions, on_conflict, deletes)

    def _put_done(self, place: Where, id: str, reply: Reply) -> RunnableConfig:
        _refuse_deleted(place, reply)
        if reply.outcome == "conflict":
            raise ThreadConflict(
                f"Thread {place.thread!r}: another writer's checkpoint {reply.head} is the head; this one follows "
                f"{place.id or 'nothing'}. Nothing was written. Read the thread again and repeat the run.",
                parent=place.id,
                head=reply.head,
            )
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
        return place, partial(self._put_writes, place, body, recalled.deletes if recalled else None)

    def _forget(self, thread: str) -> None:
        self._memo.forget(thread)
        seen.forget(self._store.number, thread)

    # -------------------------------------------------------------- blocking

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """Return the checkpoint a config names, the last one committed if it names none."""
        place = where(config)
        return self._noted(place, self._store.run(partial(self._get_tuple, place), write=False))

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
        for thread in self._store.run(partial(self._delete_for_runs, run_ids), write=True):
            self._memo.forget(thread)

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
            self._store.run(partial(self._prune, thread, strategy), write=True)
            self._memo.forget(thread)

    def get_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """Return each channel's writes up to its nearest stored value, oldest first, and that value."""
        return self._store.run(partial(self._history, where(config), channels), write=False)

    # -------------------------------------------------------------- async

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """Return the checkpoint a config names; see `get_tuple`."""
        place = where(config)
        return self._noted(place, await self._store.arun(partial(self._get_tuple, place), write=False))

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
        for thread in await self._store.arun(partial(self._delete_for_runs, run_ids), write=True):
            self._memo.forget(thread)

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Copy a thread's checkpoints and writes; see `copy_thread`."""
        plan = partial(self._backend.copy_thread, _name(source_thread_id), _name(target_thread_id))
        _refuse_existing(target_thread_id, await self._store.arun(plan, write=True))

    async def aprune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """Keep only the latest checkpoints, or none; see `prune`."""
        _check_strategy(strategy)
        for thread in map(_name, thread_ids):
            await self._store.arun(partial(self._prune, thread, strategy), write=True)
            self._memo.forget(thread)

    async def aget_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """Return each channel's writes up to its nearest stored value; see `get_delta_channel_history`."""
        return await self._store.arun(partial(self._history, where(config), channels), write=False)


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
        bound = ((before or {}).get("configurable") or {})
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
        return partial(saver._page, self._query, self._filter, self._after, self.size)

    def take(self, page: tuple[list[CheckpointTuple], Any]) -> list[CheckpointTuple]:
        """Return what of a page is wanted still; ``size`` becomes 0 at the end."""
        tuples, self._after = page
        if self._left is not None:
            tuples = tuples[: self._left]
            self._left -= len(tuples)
        if self._after is None or self._left == 0:
            self.size = 0
        return tuples


def _value(reviver: Reviver, name: str, entry: Entry) -> tuple[Any, tuple[bytes, ...]]:
    try:
        return reviver.value(entry)
    except DataError as error:
        raise error.at("channel_values", name) from None


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

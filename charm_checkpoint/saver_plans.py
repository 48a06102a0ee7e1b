"""What the checkpointer does, as plans: LangGraph's rules over a store's records."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple

from langgraph.checkpoint.base import (
    ChannelVersions,
    Checkpoint,
    CheckpointTuple,
    DeltaChannelHistory,
    PendingWrite,
)

from charm_checkpoint.codec import Codec, Encoder, Entry, is_small
from charm_checkpoint.contract import Backend, CheckpointRow, Found, NewCheckpoint, NewWrites, Query, Reply, ThreadState
from charm_checkpoint.errors import DataError, StoreUnavailable
from charm_checkpoint.filters import matches, tags
from charm_checkpoint.history import Place, doomed_by_prune, walk, with_delta_history
from charm_checkpoint.memo import Channels, Memo, ThreadMemo
from charm_checkpoint.plan import Plan
from charm_checkpoint.reader import ChunkReader, unswept
from charm_checkpoint.records import (
    CONFLICT_KEY,
    Record,
    Where,
    config_of,
    decode_record,
    decode_writes,
    encode_record,
    inline_values,
)
from charm_checkpoint.revive import Plain, Reviver, split
from charm_checkpoint.serde import Serializer

log = logging.getLogger("charm_checkpoint")

OnConflict = Literal["allow", "warn", "raise"]

OUTLINE = 1000
"""Checkpoints read at a time, without their values, to prune."""
ATTEMPTS = 20
"""How often a removal starts again because the thread changed under it."""


class Put(NamedTuple):
    """What became of a put. ``remember`` is for when it is committed, and was stored: not before,
    since a commit can fail, and what is remembered is not sent again."""

    reply: Reply
    remember: Callable[[], None]


class SaverPlans:
    """The plans of one saver, and what it remembers between them."""

    def __init__(self, backend: Backend, serde: Serializer, reader: ChunkReader) -> None:
        self._backend = backend
        self._serde = serde
        self._reader = reader
        self._codec = Codec(serde)
        self._memo = Memo()

    def forget(self, thread: str) -> None:
        """Forget what is known of a thread: it was changed from outside these plans."""
        self._memo.forget(thread)

    # ---------------------------------------------------------------- reading

    def get_tuple(self, place: Where) -> Plan[tuple[Found, CheckpointTuple | None]]:
        """Find a checkpoint, and build its tuple if it is there."""
        return unswept(partial(self._get_tuple, place))

    def _get_tuple(self, place: Where) -> Plan[tuple[Found, CheckpointTuple | None]]:
        found = yield from self._backend.find(*place, known=self._reader.known(place.thread, place.ns))
        if found.row is None:
            return found, None
        return found, (yield from self._revived(found, found.row, self._decode(found.row)))

    def _decode(self, row: CheckpointRow) -> Record:
        record = decode_record(self._serde, row.thread, row.id, row.body, row.roots)
        if row.conflict is not None:
            record.metadata[CONFLICT_KEY] = row.conflict
        return record

    def _revived(
        self, found: Found, row: CheckpointRow, record: Record, remember: bool = True
    ) -> Plan[CheckpointTuple]:
        """Build the tuple of a checkpoint, and remember where its values are."""
        inline = inline_values(self._serde, record)
        if not row.roots:
            record.checkpoint["channel_values"] = inline
        else:
            chunks = yield from self._reader.gather(row.thread, split(row.roots), found.chunks)
            self._fill(found, row, record, inline, chunks, remember)
            if remember:
                self._reader.note(row.thread, row.ns, split(row.roots), chunks)
        return CheckpointTuple(
            config_of(row.thread, row.ns, row.id),
            record.checkpoint,  # type: ignore[arg-type]
            record.metadata,  # type: ignore[arg-type]
            config_of(row.thread, row.ns, row.parent) if row.parent else None,
            decode_writes(self._serde, found.writes),
        )

    def _fill(
        self,
        found: Found,
        row: CheckpointRow,
        record: Record,
        inline: dict[str, Any],
        chunks: dict[bytes, Plain],
        remember: bool,
    ) -> None:
        """Put a checkpoint's values in their places, in the order they were put in."""
        values, versions = record.checkpoint["channel_values"], record.checkpoint["channel_versions"]
        reviver = Reviver(self._serde, chunks)
        channels = {}
        for name, ref in record.places.items():
            if type(ref) is not bytes:
                values[name] = inline[name]
            else:
                values[name], leaves = _value(reviver, name, ref)
                channels[name] = (versions.get(name), Entry(None, ref, leaves))
        if remember:
            memo = self._memo.at(row.thread, found.state.deletes, found.state.sweeps)
            memo.known.update(chunks)
            memo.keep(row.ns, row.id, channels)

    def page(
        self, query: Query, filter: Mapping[str, Any], after: Any, size: int
    ) -> Plan[tuple[list[CheckpointTuple], Any]]:
        """Return the matches in one page of a listing, and where to go on."""
        return unswept(partial(self._matches, query, filter, after, size))

    def _matches(
        self, query: Query, filter: Mapping[str, Any], after: Any, size: int
    ) -> Plan[tuple[list[CheckpointTuple], Any]]:
        known = () if query.thread is None else self._reader.known(query.thread, query.ns or "")
        page = yield from self._backend.page(query, after, size, known=known)
        tuples = []
        for found in page.items:
            assert found.row is not None
            record = self._decode(found.row)
            if not filter or matches(record.metadata, filter):
                tuples.append((yield from self._revived(found, found.row, record, remember=False)))
        return tuples, page.next

    def history(self, place: Where, channels: Sequence[str]) -> Plan[dict[str, DeltaChannelHistory]]:
        """Return each channel's writes since its nearest stored value, and that value."""
        return unswept(partial(self._history, place, channels))

    def _history(self, place: Where, channels: Sequence[str]) -> Plan[dict[str, DeltaChannelHistory]]:
        writes: dict[str, list[PendingWrite]] = {name: [] for name in channels}
        seeds: dict[str, tuple[Found, Record]] = {}

        def visit(found: Found) -> bool:
            assert found.row is not None
            for write in reversed(decode_writes(self._serde, found.writes)):
                if write[1] in writes and write[1] not in seeds:
                    writes[write[1]].append(write)
            record = self._decode(found.row)
            seeds.update({name: (found, record) for name in writes if name in record.places and name not in seeds})
            return len(seeds) < len(writes)

        yield from walk(self._backend, *place, visit)
        history: dict[str, DeltaChannelHistory] = {name: {"writes": found[::-1]} for name, found in writes.items()}
        for name, (found, record) in seeds.items():
            history[name]["seed"] = yield from self._seed(place.thread, found, record, name)
        return history

    def _seed(self, thread: str, found: Found, record: Record, name: str) -> Plan[Any]:
        ref = record.places[name]
        if type(ref) is not bytes:
            return inline_values(self._serde, record)[name]
        chunks = yield from self._reader.gather(thread, [ref], found.chunks)
        return _value(Reviver(self._serde, chunks), name, ref)[0]

    # ---------------------------------------------------------------- writing

    def put(
        self,
        place: Where,
        checkpoint: Checkpoint,
        metadata: dict[str, Any],
        new_versions: ChannelVersions,
        on_conflict: OnConflict,
        seen_deletes: int | None,
    ) -> Plan[Put]:
        """Encode a checkpoint and commit it, again in full if the store has swept since."""
        memo = self._memo.thread(place.thread)
        while True:
            encoder = Encoder(self._codec, memo.known if memo else frozenset())
            channels = self._encoded(encoder, memo, place, checkpoint, new_versions)
            refs = {name: channels[name][1].ref if name in channels else None for name in checkpoint["channel_values"]}
            body, roots = encode_record(self._serde, place.thread, checkpoint, metadata, refs)
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
        return Put(reply, partial(self._remember, place, checkpoint["id"], reply.state, encoder.chunks, channels))

    def _remember(
        self, place: Where, id: str, state: ThreadState, chunks: Collection[bytes], channels: Channels
    ) -> None:
        if not chunks and not channels:
            return
        memo = self._memo.at(place.thread, state.deletes, state.sweeps)
        memo.known.update(chunks)
        memo.keep(place.ns, id, channels)

    def _encoded(
        self,
        encoder: Encoder,
        memo: ThreadMemo | None,
        place: Where,
        checkpoint: Checkpoint,
        new_versions: ChannelVersions,
    ) -> Channels:
        """Encode the values that do not go inline; those that did not change are where the parent has them."""
        before = memo.channels(place.ns, place.id) if memo else {}
        versions = checkpoint["channel_versions"]
        channels = {}
        for name, value in checkpoint["channel_values"].items():
            if is_small(value):
                continue
            version = versions.get(name)
            held = before.get(name)
            if held is not None and version is not None and name not in new_versions and held[0] == version:
                channels[name] = held
                encoder.complete = False
                continue
            entry = _encode(encoder, name, value, memo.leaves(place.ns, name) if memo else ())
            if entry.ref is not None:
                channels[name] = (version, entry)
        return channels

    def put_writes(self, place: Where, body: bytes, seen_deletes: int | None) -> Plan[Reply]:
        """Append a task's encoded writes."""
        return self._backend.put_writes(NewWrites(place.thread, place.ns, place.id or "", body, seen_deletes))

    def prune(self, thread: str, strategy: str) -> Plan[None]:
        """Remove what a strategy does not keep."""
        if strategy != "keep_latest":
            yield from self._backend.delete_thread(thread)
            return
        yield from self._remove(thread, lambda rows: doomed_by_prune(rows, self._decode))

    def _remove(self, thread: str, choose: Callable[[Sequence[CheckpointRow]], set[Place]]) -> Plan[None]:
        """Remove what is chosen of a thread's checkpoints, which do not change in between."""
        for _ in range(ATTEMPTS):
            rows, seq = yield from self._outline(thread)
            doomed = choose(rows)
            if not doomed:
                return
            reply = yield from self._backend.remove(thread, doomed, seq)
            if reply.outcome == "stored":
                return
        raise StoreUnavailable(f"Thread {thread!r} kept changing meanwhile; nothing of it was removed, try again.")

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

    def delete_for_runs(self, run_ids: Sequence[str]) -> Plan[list[str]]:
        """Remove what runs made; return the threads that had any."""
        doomed: dict[str, set[tuple[str, str]]] = {}
        for thread, ns, id in (yield from self._backend.runs(list(run_ids))):
            doomed.setdefault(thread, set()).add((ns, id))
        for thread, places in doomed.items():
            yield from self._remove(thread, partial(self._doomed_of_runs, thread, places))
        return list(doomed)

    def _doomed_of_runs(self, thread: str, places: set[Place], rows: Sequence[CheckpointRow]) -> set[Place]:
        by_place = {(row.ns, row.id): row for row in rows}
        places = places & set(by_place)
        needed = with_delta_history(set(by_place) - places, by_place, self._decode) & places
        if needed:
            log.warning(
                "Thread %r: %d checkpoints of deleted runs stay, later ones are built on their writes.",
                thread,
                len(needed),
            )
        return places - needed


def _encode(encoder: Encoder, name: str, value: Any, prior: tuple[bytes, ...]) -> Entry:
    try:
        return encoder.value(value, prior)
    except DataError as error:
        raise error.at("channel_values", name) from None


def _value(reviver: Reviver, name: str, ref: bytes) -> tuple[Any, tuple[bytes, ...]]:
    try:
        return reviver.value(Entry(None, ref))
    except DataError as error:
        raise error.at("channel_values", name) from None

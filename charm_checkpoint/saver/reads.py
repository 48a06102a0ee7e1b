"""Reading checkpoints, as plans: one, a listing's page, and the writes that delta channels are rebuilt from."""

from __future__ import annotations

import logging
from collections.abc import Container, Sequence
from functools import partial
from typing import Any

from langgraph.checkpoint.base import CheckpointTuple, DeltaChannelHistory, PendingWrite

from charm_checkpoint.contract import Backend, CheckpointRow, Query, StoredCheckpoint, ThreadState
from charm_checkpoint.errors import DataError, StoreCorrupt, TypeNotLoaded, name_place, placing
from charm_checkpoint.plan import Plan
from charm_checkpoint.saver.carrying import parent_of
from charm_checkpoint.saver.delta_line import DeltaLine
from charm_checkpoint.saver.filters import Filter
from charm_checkpoint.saver.history import walk, with_writes
from charm_checkpoint.saver.pending_writes import decode_writes
from charm_checkpoint.saver.records import Record, decode_row, inline_values
from charm_checkpoint.saver.refs import CheckpointRef, config_of
from charm_checkpoint.telemetry.operation import note
from charm_checkpoint.values.chunk_reader import ChunkReader, retry_if_swept
from charm_checkpoint.values.decoder import DecodedChunk, Decoder, split
from charm_checkpoint.values.encoder import EncodedValue
from charm_checkpoint.values.known_chunks import Held, KnownChunks, Parent
from charm_checkpoint.values.limits import DEFAULTS, Limits
from charm_checkpoint.values.offload import decoding
from charm_checkpoint.values.sealing import Identities, opened, unpacked_size
from charm_checkpoint.values.serde import Serializer

log = logging.getLogger("charm_checkpoint")


class Reads:
    """The plans of one saver that read; what they meet is remembered in ``known``."""

    def __init__(
        self,
        backend: Backend,
        serde: Serializer,
        reader: ChunkReader,
        known: KnownChunks,
        identities: Identities,
        limits: Limits = DEFAULTS,
    ) -> None:
        self._backend = backend
        self._identities = identities
        self._serde = serde
        self._reader = reader
        self._known = known
        self._limits = limits

    def get_tuple(self, ref: CheckpointRef) -> Plan[tuple[StoredCheckpoint, CheckpointTuple | None]]:
        """Find a checkpoint, and build its tuple if it is there."""
        return retry_if_swept(partial(self._get_tuple, ref))

    def _get_tuple(self, ref: CheckpointRef) -> Plan[tuple[StoredCheckpoint, CheckpointTuple | None]]:
        found = yield from self._backend.find(*ref, known=self._reader.known(ref.thread, ref.ns))
        if found.row is None:
            if ref.id is not None:  # what is remembered may be from before it was removed
                self._known.forget(ref.thread)
            return found, None
        note((found.row.ns, found.row.id))
        return found, (yield from self._read(found, found.row, None))

    def _read(self, found: StoredCheckpoint, row: CheckpointRow, filter: Filter | None) -> Plan[CheckpointTuple | None]:
        """Build the tuple of a checkpoint, or with a filter that of a match; what is damaged is named."""
        try:
            record = decode_row(self._serde, self._identities, row, limits=self._limits)
            if filter and not filter.matches(record.metadata):
                return None
            return (yield from self._decoded(found, row, record, remember=filter is None))
        except (StoreCorrupt, TypeNotLoaded) as error:
            name_place(error, *_at(row))
            raise

    def _decoded(
        self, found: StoredCheckpoint, row: CheckpointRow, record: Record, remember: bool = True
    ) -> Plan[CheckpointTuple]:
        """Build the tuple of a checkpoint, and remember where its values are."""
        inline = inline_values(self._serde, record)
        chunks: dict[bytes, DecodedChunk] = {}
        channels: dict[str, Held] = {}
        if not row.roots:
            record.checkpoint["channel_values"] = inline
        else:
            chunks = yield from self._reader.gather(row.thread, split(row.roots), found.chunks)
            fill = partial(self._fill, record, inline, chunks)
            channels = yield from decoding(fill, sum([len(chunk.body) for chunk in chunks.values()]))
        if remember and (row.roots or not self._known.has_parent(row.thread, found.state, row.ns, row.id)):
            self._known.keep(row.thread, found.state, row.ns, chunks, parent_of(record, channels))
            if row.roots:
                self._reader.note(row.thread, row.ns, split(row.roots), chunks)
        read = partial(self._writes, row, found.writes)
        writes = yield from decoding(read, sum(map(unpacked_size, found.writes)))
        return _tuple_of(row, record, writes)

    def _writes(self, row: CheckpointRow, bodies: Sequence[bytes]) -> list[PendingWrite]:
        if not bodies:
            return []
        whose = self._identities.writes(row.thread, row.ns, row.id)
        return decode_writes(self._serde.loads, [opened(whose, body) for body in bodies], self._limits)

    def _fill(self, record: Record, inline: dict[str, Any], chunks: dict[bytes, DecodedChunk]) -> dict[str, Held]:
        """Set a checkpoint's values, in the order they were put in; return what is known of those in chunks."""
        values, versions = record.checkpoint["channel_values"], record.checkpoint["channel_versions"]
        named = [location for location in record.locations.values() if type(location) is bytes]
        decoder = Decoder(self._serde, chunks, named, self._limits)
        channels = {}
        for name, location in record.locations.items():
            if type(location) is not bytes:
                values[name] = inline[name]
            else:
                values[name] = _value(decoder, name, location)
                channels[name] = Held(versions.get(name), location, *decoder.share(location))
        return channels

    def parent(self, ref: CheckpointRef, names: Container[str]) -> Plan[tuple[ThreadState, Parent] | None]:
        """Return where a checkpoint's values are, and how much of these is in chunks; no value is decoded.

        ``names`` are the channels that somebody may ask for.
        """
        return retry_if_swept(partial(self._parent, ref, names))

    def _parent(self, ref: CheckpointRef, names: Container[str]) -> Plan[tuple[ThreadState, Parent] | None]:
        page = yield from self._backend.page(Query(ref.thread, ref.ns, ref.id), None, 1, writes=False)
        if not page.items:
            return None
        found = page.items[0]
        assert found.row is not None
        with placing(*_at(found.row)):
            record = decode_row(self._serde, self._identities, found.row, outline=True, limits=self._limits)
            wanted = {
                name: location
                for name, location in record.locations.items()
                if type(location) is bytes and name in names
            }
            chunks: dict[bytes, DecodedChunk] = {}
            if wanted:
                chunks = yield from self._reader.gather(ref.thread, wanted.values(), found.chunks)
            decoder = Decoder(self._serde, chunks, list(wanted.values()), self._limits)
        versions = record.checkpoint["channel_versions"]
        channels = {name: Held(versions.get(name), at, *decoder.share(at)) for name, at in wanted.items()}
        return found.state, parent_of(record, channels)

    def page(self, query: Query, filter: Filter, after: Any, size: int) -> Plan[tuple[list[CheckpointTuple], Any]]:
        """Return the matches in one page of a listing, and where to go on."""
        return retry_if_swept(partial(self._matches, query, filter, after, size))

    def _matches(self, query: Query, filter: Filter, after: Any, size: int) -> Plan[tuple[list[CheckpointTuple], Any]]:
        known = () if query.thread is None else self._reader.known(query.thread, query.ns or "")
        page = yield from self._backend.page(query, after, size, known=known)
        tuples = []
        for found in page.items:
            assert found.row is not None
            if found.row.thread != query.thread is not None:
                raise StoreCorrupt(f"What is stored here is named as that of thread {found.row.thread!r}.")
            match = yield from self._read(found, found.row, filter)
            if match is not None:
                tuples.append(match)
        return tuples, page.next

    def outlines(self, query: Query, filter: Filter, after: Any, size: int) -> Plan[tuple[list[CheckpointTuple], Any]]:
        """Return the matches in one page of a listing without their values, and where to go on; no chunk is read."""
        page = yield from self._backend.page(query, after, size, writes=False)
        matches = []
        for found in page.items:
            assert found.row is not None
            with placing(*_at(found.row)):
                record = decode_row(self._serde, self._identities, found.row, outline=True, limits=self._limits)
            if filter.matches(record.metadata):
                matches.append((found.row, record))
        stored = yield from with_writes(self._backend, [row for row, _ in matches])
        tuples = []
        for row, record in matches:
            with placing(*_at(row)):
                writes = self._writes(row, stored[row.thread, row.ns, row.id].writes)
            tuples.append(_tuple_of(row, record, writes))
        return tuples, page.next

    def history(self, ref: CheckpointRef, channels: Sequence[str]) -> Plan[dict[str, DeltaChannelHistory]]:
        """Return each channel's writes since its nearest stored value, and that value."""
        return retry_if_swept(partial(self._history, ref, channels))

    def _history(self, ref: CheckpointRef, channels: Sequence[str]) -> Plan[dict[str, DeltaChannelHistory]]:
        writes: dict[str, list[PendingWrite]] = {name: [] for name in channels}
        seeds: dict[str, tuple[StoredCheckpoint, Record]] = {}
        line = DeltaLine(writes)

        def visit(found: StoredCheckpoint) -> bool:
            assert found.row is not None
            with placing(*_at(found.row)):
                is_target = line.is_empty
                written = [] if is_target else self._writes(found.row, found.writes)
                record = decode_row(self._serde, self._identities, found.row, is_target, self._limits)
            line.take(found.row, record, {write[1] for write in written}, seeds)
            for write in reversed(written):
                if write[1] in writes and write[1] not in seeds:
                    writes[write[1]].append(write)
            if not is_target:
                seeds.update({name: (found, record) for name in record.locations if name in writes.keys() - seeds})
            return len(seeds) < len(writes)

        yield from walk(self._backend, *ref, visit)
        line.end(seeds)
        for said in line.lost:
            log.warning("%s", said)
        history: dict[str, DeltaChannelHistory] = {name: {"writes": found[::-1]} for name, found in writes.items()}
        for name, (found, record) in seeds.items():
            assert found.row is not None
            with placing(*_at(found.row)):
                history[name]["seed"] = yield from self._seed(ref.thread, found, record, name)
        return history

    def _seed(self, thread: str, found: StoredCheckpoint, record: Record, name: str) -> Plan[Any]:
        location = record.locations[name]
        if type(location) is not bytes:
            return inline_values(self._serde, record)[name]
        chunks = yield from self._reader.gather(thread, [location], found.chunks)
        decoder = Decoder(self._serde, chunks, [location], self._limits)
        read = partial(_value, decoder, name, location)
        return (yield from decoding(read, sum([len(chunk.body) for chunk in chunks.values()])))


def _at(row: CheckpointRow) -> CheckpointRef:
    return CheckpointRef(row.thread, row.ns, row.id)


def _tuple_of(row: CheckpointRow, record: Record, writes: list[PendingWrite]) -> CheckpointTuple:
    return CheckpointTuple(
        config_of(row.thread, row.ns, row.id),
        record.checkpoint,  # type: ignore[arg-type]
        record.metadata,  # type: ignore[arg-type]
        config_of(row.thread, row.ns, row.parent) if row.parent else None,
        writes,
    )


def _value(decoder: Decoder, name: str, ref: bytes) -> Any:
    try:
        return decoder.value(EncodedValue(None, ref))
    except DataError as error:
        raise error.at("channel_values", name) from error.__cause__

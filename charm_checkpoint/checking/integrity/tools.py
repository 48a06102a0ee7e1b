"""What it takes to look at what is stored without any class of a program."""

from __future__ import annotations

from dataclasses import dataclass

import ormsgpack

from charm_checkpoint.contract import Backend, CheckpointRow, Chunk, capabilities, tenant_of
from charm_checkpoint.errors import HOSTS, NewerFormat, corrupt
from charm_checkpoint.saver.pending_writes import decode_writes
from charm_checkpoint.saver.records import Record, decode_row
from charm_checkpoint.store import Store
from charm_checkpoint.values.decoder import LEAVES, PIECE, WHOLE, DecodedChunk, decode_chunk
from charm_checkpoint.values.encoder import CONTAINERS, GROUP, LEAF, MANIFEST
from charm_checkpoint.values.limits import Limits
from charm_checkpoint.values.sealing import Identities, opened
from charm_checkpoint.values.serde import Serializer


@dataclass(frozen=True)
class Tools:
    """Reads records, writes and chunks in outline: as they are stored, whatever classes are loaded."""

    store: Store
    backend: Backend
    serde: Serializer
    identities: Identities
    message_identities: Identities
    limits: Limits

    @classmethod
    def of(cls, store: Store) -> Tools:
        """Return the tools for a store."""
        tenant, marks = tenant_of(store.backend), capabilities(store.backend).marks_copies
        serde = Serializer(allowed=(), on_unknown="keep")
        return cls(store, store.backend, serde, Identities(tenant, marks=marks), Identities(tenant), store.limits)

    def record(self, row: CheckpointRow) -> Record:
        """Return a checkpoint's record, whose small values are read and left out; raises `StoreCorrupt`."""
        record = decode_row(self.serde, self.identities, row, outline=True, limits=self.limits)
        if record.inline:
            self.serde.loads_plain(record.inline)
        return record

    def channels(self, row: CheckpointRow) -> dict[bytes, str]:
        """Return a checkpoint's channels by the addresses of their values; raises `StoreCorrupt` for a damaged one."""
        record = self.record(row)
        return {location: name for name, location in record.locations.items() if type(location) is bytes}

    def writes(self, row: CheckpointRow, body: bytes) -> set[str]:
        """Read the writes of one task, and return their channels; raises `StoreCorrupt` for damaged ones."""
        whose = self.identities.writes(row.thread, row.ns, row.id)
        return {channel for _, channel, _ in decode_writes(self.serde.loads_plain, [opened(whose, body)], self.limits)}

    def chunk(self, chunk: Chunk) -> DecodedChunk:
        """Unpack a chunk and read it in outline; raises `StoreCorrupt` for a damaged one."""
        found = decode_chunk(chunk)
        try:
            _check_outline(found)
        except HOSTS:
            raise
        except Exception as error:
            raise corrupt(f"Chunk {chunk.address.hex()} has another shape than it should", error) from error
        return found


def _check_outline(chunk: DecodedChunk) -> None:
    """Raise whatever comes of it if a chunk is not of the shape that its kind has."""
    kind, body, refs, _ = chunk
    if kind == MANIFEST:
        container, levels, tail = ormsgpack.unpackb(body)
        if container not in CONTAINERS:
            raise NewerFormat.of("A list or dict is in a container of kind", container)
        if sum(levels) + sum(item is None for item in tail) != len(refs):
            raise ValueError("it names another number of chunks than it says")
    elif kind == LEAF:
        _, large, _ = ormsgpack.unpackb(body)
        if len(large) != len(refs):
            raise ValueError("it names another number of chunks than it says")
    elif kind != GROUP and kind not in WHOLE and kind not in LEAVES and kind not in PIECE:
        raise NewerFormat.of("A chunk is of kind", kind)

"""What the checkpointer does, as plans: LangGraph's rules over a store's records. Writing is here."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple

from langgraph.checkpoint.base import ChannelVersions, Checkpoint

from charm_checkpoint.contract import Backend, NewCheckpoint, NewWrites, WriteResult
from charm_checkpoint.errors import DataError
from charm_checkpoint.plan import Plan
from charm_checkpoint.runtime.cache import Budget
from charm_checkpoint.saver.pending_writes import encode_writes
from charm_checkpoint.saver.reads import Reads
from charm_checkpoint.saver.records import NOT_TAGGED, CheckpointRef, encode_record, run_of
from charm_checkpoint.saver.removals import Removals
from charm_checkpoint.saver.tags import tags
from charm_checkpoint.saver.threads import note_of_writes, noted
from charm_checkpoint.values.chunk_reader import ChunkReader
from charm_checkpoint.values.encoder import EncodedValue, Encoder, is_small
from charm_checkpoint.values.known_chunks import Channels, KnownChunks, ThreadChunks
from charm_checkpoint.values.offload import encoding
from charm_checkpoint.values.serde import Serializer

OnConflict = Literal["allow", "warn", "raise"]


class Put(NamedTuple):
    """What became of a put.

    ``remember`` is for when it is committed, and was stored: not before, since a commit can fail, and
    what is remembered is not sent again.
    """

    reply: WriteResult
    remember: Callable[[], None]


class _Packed(NamedTuple):
    """A checkpoint encoded: the encoder with its chunks, where values went that are not inline, body and roots."""

    encoder: Encoder
    channels: Channels
    body: bytes
    roots: bytes


class SaverPlans:
    """The plans of one saver, and what it remembers between them. Those that read and remove stand apart."""

    def __init__(self, backend: Backend, serde: Serializer, reader: ChunkReader, budget: Budget) -> None:
        self._backend = backend
        self._serde = serde
        self.known = KnownChunks(budget)
        self.reads = Reads(backend, serde, reader, self.known)
        self.removals = Removals(backend, serde)

    def put(
        self,
        ref: CheckpointRef,
        checkpoint: Checkpoint,
        metadata: dict[str, Any],
        new_versions: ChannelVersions,
        on_conflict: OnConflict,
        seen_deletes: int | None,
    ) -> Plan[Put]:
        """Encode a checkpoint and commit it, again in full if the store has swept since."""
        known = self.known.thread(ref.thread)
        titled = ref.id is not None and seen_deletes is not None and self.known.is_titled(ref.thread, seen_deletes)
        notes = noted(ref.ns, checkpoint, metadata, titled)
        while True:
            packed = yield from encoding(partial(self._packed, known, ref, checkpoint, metadata, new_versions))
            base = None if known is None or packed.encoder.complete else known.sweeps
            chunks, run = packed.encoder.chunks, run_of(metadata)
            reply = yield from self._backend.put(
                NewCheckpoint(
                    ref.thread, ref.ns, checkpoint["id"], ref.id, packed.body, packed.roots,
                    tags(metadata, NOT_TAGGED), run, list(chunks.values()), base, seen_deletes, on_conflict, *notes,
                )
            )  # fmt: skip
            if reply.outcome != "stale":
                break
            known = None
        new = ref._replace(id=checkpoint["id"])
        return Put(reply, partial(self._remember, new, reply, chunks, packed.channels, known, notes.title))

    def _packed(
        self,
        known: ThreadChunks | None,
        ref: CheckpointRef,
        checkpoint: Checkpoint,
        metadata: dict[str, Any],
        new_versions: ChannelVersions,
        allowance: int | None,
    ) -> _Packed:
        encoder = Encoder(self._serde, self.known.leaves, known.addresses if known else frozenset(), allowance)
        encoded = self._encoded(encoder, known, ref, checkpoint, new_versions)
        body, roots = encode_record(self._serde, ref.thread, checkpoint, metadata, encoded)
        versions = checkpoint["channel_versions"]
        channels = {name: (versions.get(name), value.ref) for name, value in encoded.items() if value and value.ref}
        return _Packed(encoder, channels, body, roots)

    def _remember(
        self,
        new: CheckpointRef,
        reply: WriteResult,
        chunks: Collection[bytes],
        channels: Channels,
        known: ThreadChunks | None,
        title: bytes | None,
    ) -> None:
        if title is not None or (reply.head is None and not new.ns):
            # The first one, perhaps again after others were removed meanwhile: a title there was went with the last.
            self.known.note_title(new.thread, None if title is None else reply.state.deletes)
        if chunks or channels:
            self.known.keep(new.thread, reply.state, (new.ns, new.id or ""), chunks, channels, known)

    def _encoded(
        self,
        encoder: Encoder,
        known: ThreadChunks | None,
        ref: CheckpointRef,
        checkpoint: Checkpoint,
        new_versions: ChannelVersions,
    ) -> dict[str, EncodedValue | None]:
        """Encode the values that are not small; those that did not change are where the parent has them."""
        before = known.channels(ref.ns, ref.id) if known else {}
        versions = checkpoint["channel_versions"]
        encoded: dict[str, EncodedValue | None] = {}
        for name, value in checkpoint["channel_values"].items():
            if is_small(value):
                encoded[name] = None
                continue
            version = versions.get(name)
            held = before.get(name)
            if held is not None and version is not None and name not in new_versions and held[0] == version:
                encoded[name] = EncodedValue(None, held[1])
                encoder.complete = False
            else:
                encoded[name] = _encode(encoder, name, value, known.latest(ref.ns, name) if known else None)
        return encoded

    def put_writes(
        self,
        ref: CheckpointRef,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str,
        seen_deletes: int | None,
    ) -> Plan[WriteResult]:
        """Append a task's writes."""
        body = yield from encoding(partial(encode_writes, self._serde, writes, task_id, task_path))
        note = note_of_writes(ref.ns, ref.id, [channel for channel, _ in writes])
        return (yield from self.put_body(ref, body, seen_deletes, note))

    def put_body(
        self, ref: CheckpointRef, body: bytes, seen_deletes: int | None, note: bytes | None = None
    ) -> Plan[WriteResult]:
        """Append a task's writes that are encoded already."""
        return self._backend.put_writes(NewWrites(ref.thread, ref.ns, ref.id or "", body, seen_deletes, note))


def _encode(encoder: Encoder, name: str, value: Any, prior: bytes | None) -> EncodedValue:
    try:
        return encoder.value(value, prior)
    except DataError as error:
        raise error.at("channel_values", name) from error.__cause__

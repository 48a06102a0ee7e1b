"""What the checkpointer does, as plans: LangGraph's rules over a store's records. Writing is here."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple

from langgraph.checkpoint.base import ChannelVersions, Checkpoint

from charm_checkpoint.contract import Backend, NewCheckpoint, NewWrites, WriteResult, capabilities, tenant_of
from charm_checkpoint.errors import DataError, NotSerializable
from charm_checkpoint.plan import Plan
from charm_checkpoint.runtime.cache import Budget
from charm_checkpoint.saver.carrying import NOTHING, Carried, Encoded, carried, leans, may_lack, put_parent
from charm_checkpoint.saver.history import COUNTERS
from charm_checkpoint.saver.notes import note_of_writes, noted
from charm_checkpoint.saver.reads import Reads
from charm_checkpoint.saver.records import NOT_TAGGED, encode_record
from charm_checkpoint.saver.refs import CheckpointRef, run_of
from charm_checkpoint.saver.refusals import Orphans, begins_anew, refuse_orphan
from charm_checkpoint.saver.removals import Removals
from charm_checkpoint.saver.tags import tags
from charm_checkpoint.saver.task_writes import encode_writes
from charm_checkpoint.telemetry.operation import note
from charm_checkpoint.values.chunk_reader import ChunkReader
from charm_checkpoint.values.encoder import EncodedValue, Encoder, is_small
from charm_checkpoint.values.known_chunks import Channels, Held, KnownChunks, Parent, ThreadChunks
from charm_checkpoint.values.limits import DEFAULTS, Limits
from charm_checkpoint.values.offload import encoding
from charm_checkpoint.values.sealing import Identities, Identity, seal
from charm_checkpoint.values.serde import Serializer

OnConflict = Literal["allow", "warn", "raise"]


class Put(NamedTuple):
    """What became of a put.

    ``remember`` is for when it is committed, and was stored: not before, since a commit can fail, and
    what is remembered is not sent again.
    """

    reply: WriteResult
    remember: Callable[[], None]


class _Base(NamedTuple):
    """What a put begins with: what is known of the thread, as of a sweep counter, and what it takes over.

    ``leans``: what is put cannot be read without its parent, which was there at that counter.
    """

    known: ThreadChunks | None
    sweeps: int | None
    carried: Carried
    leans: bool = False

    @property
    def needs_parent(self) -> bool:
        """Tell whether what is put is whole only as long as the parent is there."""
        return self.leans or self.carried.in_chunks


class _Packed(NamedTuple):
    """A checkpoint encoded: the encoder with its chunks, its values, where those not inline went, body and roots."""

    encoder: Encoder
    encoded: Mapping[str, Encoded]
    channels: Channels
    body: bytes
    roots: bytes


class SaverPlans:
    """The plans of one saver, and what it remembers between them. Those that read and remove stand apart."""

    def __init__(
        self,
        backend: Backend,
        serde: Serializer,
        reader: ChunkReader,
        budget: Budget,
        limits: Limits = DEFAULTS,
        *,
        trusting: bool = False,
    ) -> None:
        self._backend = backend
        self._serde = serde
        self._limits = limits
        self.known = KnownChunks(budget)
        self._orphans = Orphans()
        self._identities = Identities(tenant_of(backend), marks=capabilities(backend).marks_copies, trusting=trusting)
        self.reads = Reads(backend, serde, reader, self.known, self._identities, limits)
        self.removals = Removals(backend, serde, self._identities)

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
        self._orphans.refuse_follower(ref, checkpoint["id"])
        known = self.known.thread(ref.thread)
        titled = ref.id is not None and seen_deletes is not None and self.known.is_titled(ref.thread, seen_deletes)
        notes = noted(ref.ns, checkpoint, metadata, titled)
        base = yield from self._base(known, ref, checkpoint, metadata, new_versions, seen_deletes)
        if base.carried.counters:
            metadata = {**metadata, COUNTERS: {**(metadata.get(COUNTERS) or {}), **base.carried.counters}}
        while True:
            packed = yield from encoding(partial(self._packed, base, ref, checkpoint, metadata, new_versions))
            chunks, run = packed.encoder.chunks, run_of(metadata)
            reply = yield from self._backend.put(
                NewCheckpoint(
                    ref.thread, ref.ns, checkpoint["id"], ref.id, packed.body, packed.roots, tags(metadata, NOT_TAGGED),
                    run, list(chunks.values()), base.sweeps if base.leans or not packed.encoder.complete else None,
                    seen_deletes, on_conflict, *notes,
                )
            )  # fmt: skip
            if reply.outcome != "stale":
                break
            note(stale=1)
            base = yield from self._swept(base, ref, checkpoint, metadata, new_versions, seen_deletes)
        note(
            (ref.ns, checkpoint["id"]),
            chunks_sent=len(chunks),
            chunks_reused=packed.encoder.reused,
            conflicts=reply.conflict or reply.outcome == "conflict",
        )
        self._orphans.taken(CheckpointRef(ref.thread, ref.ns, checkpoint["id"]))
        parent = put_parent(checkpoint, metadata, packed.encoded, packed.channels)
        return Put(reply, partial(self._remember, ref, reply, chunks, parent, base.known, notes.title))

    def _base(
        self,
        known: ThreadChunks | None,
        ref: CheckpointRef,
        checkpoint: Checkpoint,
        metadata: dict[str, Any],
        new_versions: ChannelVersions,
        seen_deletes: int | None,
        needed: bool = False,
    ) -> Plan[_Base]:
        """Return what a put begins with; the store is asked only for a parent that is not remembered.

        ``needed``: the parent was there before, and what is put is whole only with it.
        """
        sweeps = None if known is None else known.sweeps
        if ref.id is None:
            return _Base(known, sweeps, NOTHING)
        leaning = leans(checkpoint, metadata)
        parent = None if known is None else known.parent(ref.ns, ref.id)
        if parent is None:
            names = may_lack(checkpoint, metadata, new_versions)
            if not names and not leaning and not begins_anew(metadata):
                return _Base(known, sweeps, NOTHING)  # it is whole, and hides nothing
            stored = yield from self.reads.parent(ref, names)
            if stored is None:
                # Who moves a thread may put its latest first, and reads nothing of it before.
                needed = needed or (leaning and seen_deletes is not None)
                yield from self._without_parent(ref, checkpoint["id"], needed, metadata, seen_deletes)
                return _Base(known, sweeps, NOTHING)
            state, parent = stored
            if state.sweeps != sweeps:
                known, sweeps = None, state.sweeps
        return _Base(known, sweeps, carried(parent, checkpoint, metadata, new_versions), leaning)

    def _without_parent(
        self, ref: CheckpointRef, id: str, needed: bool, metadata: Mapping[str, Any], seen_deletes: int | None
    ) -> Plan[None]:
        """Refuse what follows a checkpoint that was removed, where that would lose something.

        A thread from which nothing was removed has no sweeps; but one that is begun where others were erased may have.
        """
        found = yield from self._backend.find(*ref)
        deleted = seen_deletes is not None and seen_deletes != found.state.deletes  # the store says it, and better
        if found.row is None and found.state.sweeps and not deleted:
            refusal = partial(refuse_orphan, ref, found.head, needed=needed, anew=begins_anew(metadata))
            self._orphans.refuse(ref, id, refusal)

    def _swept(
        self,
        base: _Base,
        ref: CheckpointRef,
        checkpoint: Checkpoint,
        metadata: dict[str, Any],
        new_versions: ChannelVersions,
        seen_deletes: int | None,
    ) -> Plan[_Base]:
        """Return what a put begins with again, once something of the thread was swept that it took for stored."""
        if base.needs_parent:
            return (yield from self._base(None, ref, checkpoint, metadata, new_versions, seen_deletes, needed=True))
        return _Base(None, None, base.carried)

    def _packed(
        self,
        base: _Base,
        ref: CheckpointRef,
        checkpoint: Checkpoint,
        metadata: dict[str, Any],
        new_versions: ChannelVersions,
        allowance: int | None,
    ) -> _Packed:
        known = base.known
        addresses: frozenset[bytes] | set[bytes] = known.addresses if known else frozenset()
        before = known.channels(ref.ns, ref.id) if known else {}
        encoder = Encoder(self._serde, self.known.leaves, addresses, allowance, self._limits)
        encoded, channels = self._encoded(encoder, base, before, ref, checkpoint, new_versions)
        if before and self._excess(channels):  # what was read is only known to weigh so much at most
            encoder = Encoder(self._serde, self.known.leaves, addresses, allowance, self._limits)
            encoded, channels = self._encoded(encoder, base, {}, ref, checkpoint, new_versions)
        self._check(encoder, checkpoint["channel_values"], channels)
        packed, roots = encode_record(self._serde, ref.thread, checkpoint, metadata, encoded, self._limits)
        body = seal(self._identities.checkpoint(ref.thread, ref.ns, checkpoint["id"], ref.id, roots), packed)
        return _Packed(encoder, encoded, channels, body, roots)

    def _excess(self, channels: Channels) -> str | None:
        return self._limits.excess(sum([held.weight for held in channels.values()]))

    def _check(self, encoder: Encoder, values: Mapping[str, Any], channels: Channels) -> None:
        """Refuse values that together could not be read back."""
        weight = sum([held.weight for held in channels.values()])
        if self._limits.is_light(weight):
            return
        stored = sum([held.stored for held in channels.values()])
        try:
            own = [values[name] for name in channels if name in values]
            encoder.check(own, weight, stored, "the values of this checkpoint come")
        except NotSerializable as error:
            heaviest = max(channels, key=lambda name: channels[name].weight)
            error.path = ("channel_values", heaviest)
            raise

    def _remember(
        self,
        ref: CheckpointRef,
        reply: WriteResult,
        chunks: Collection[bytes],
        parent: Parent,
        known: ThreadChunks | None,
        title: bytes | None,
    ) -> None:
        if title is not None or (reply.head is None and not ref.ns):
            # The first one, perhaps again after others were removed meanwhile: a title there was went with the last.
            self.known.note_title(ref.thread, None if title is None else reply.state.deletes)
        self.known.keep(ref.thread, reply.state, ref.ns, chunks, parent, known, was_put=True)

    def _encoded(
        self,
        encoder: Encoder,
        base: _Base,
        before: Channels,
        ref: CheckpointRef,
        checkpoint: Checkpoint,
        new_versions: ChannelVersions,
    ) -> tuple[dict[str, Encoded], dict[str, Held]]:
        """Encode the values that are not small; those that did not change are where the parent has them."""
        versions, known = checkpoint["channel_versions"], base.known
        encoded: dict[str, Encoded] = {}
        channels: dict[str, Held] = {}
        for name, value in checkpoint["channel_values"].items():
            if is_small(value):
                encoded[name] = [value]
                continue
            version = versions.get(name)
            held = before.get(name)
            if held is not None and version is not None and name not in new_versions and held.version == version:
                encoded[name] = EncodedValue(None, held.ref)
                channels[name] = held
                encoder.complete = False
                continue
            made = _encode(encoder, name, value, known.latest(ref.ns, name) if known else None)
            encoded[name] = made
            if made.ref is not None:
                channels[name] = Held(version, made.ref, *encoder.weight(made.ref))
        if base.carried.values:
            encoded.update(base.carried.values)
            channels.update(base.carried.held)
            encoder.complete = encoder.complete and not base.carried.in_chunks
        return encoded, channels

    def put_writes(
        self,
        ref: CheckpointRef,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str,
        seen_deletes: int | None,
    ) -> Plan[WriteResult]:
        """Append a task's writes."""
        note((ref.ns, ref.id or ""))
        join = partial(seal, self.identity_of_writes(ref))
        encode = partial(encode_writes, self._serde, writes, task_id, task_path, limits=self._limits, join=join)
        body = yield from encoding(encode)
        told = note_of_writes(ref.ns, ref.id, [channel for channel, _ in writes])
        return (yield from self._put_sealed(ref, body, seen_deletes, told))

    def put_body(
        self, ref: CheckpointRef, packed: bytes, seen_deletes: int | None, told: bytes | None = None
    ) -> Plan[WriteResult]:
        """Append a task's writes that are encoded already."""
        return self._put_sealed(ref, seal(self.identity_of_writes(ref), packed), seen_deletes, told)

    def identity_of_writes(self, ref: CheckpointRef) -> Identity:
        """Return what is sealed into, and read from, the writes of a checkpoint."""
        return self._identities.writes(ref.thread, ref.ns, ref.id or "")

    def _put_sealed(
        self, ref: CheckpointRef, body: bytes, seen_deletes: int | None, told: bytes | None
    ) -> Plan[WriteResult]:
        return self._backend.put_writes(NewWrites(ref.thread, ref.ns, ref.id or "", body, seen_deletes, told))


def _encode(encoder: Encoder, name: str, value: Any, prior: bytes | None) -> EncodedValue:
    try:
        return encoder.value(value, prior)
    except DataError as error:
        raise error.at("channel_values", name) from error.__cause__

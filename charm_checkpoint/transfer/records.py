"""What is carried from store to store: records without their seals, and what tells two threads apart; pure.

A record is taken out of its seal, which is of one tenant, thread and place, and is sealed anew where it is put. Inside,
only a checkpoint's metadata is looked at, which its tags are made of: no class of the program is needed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import NamedTuple, TypeAlias

from charm_checkpoint.contract import CheckpointRow, Chunk, MessagesRow, ThreadState, capabilities, tenant_of
from charm_checkpoint.errors import NewerFormat
from charm_checkpoint.saver.records import NOT_TAGGED, decode_record
from charm_checkpoint.saver.refs import run_of
from charm_checkpoint.saver.tags import tags
from charm_checkpoint.store import Store
from charm_checkpoint.values.packing import UNPACK
from charm_checkpoint.values.sealing import Identities, Identity, opened
from charm_checkpoint.values.serde import Serializer

Key: TypeAlias = tuple[str, str]
"""A namespace and a checkpoint's id."""

SIZE = 16
"""Bytes of a digest."""


class CheckpointRecord(NamedTuple):
    """A checkpoint out of its seal; ``packed`` is its record, ``writes`` are those of its tasks, packed too.

    ``stored`` says that the checkpoint itself is there, and only these writes are not.
    """

    ns: str
    id: str
    parent: str | None
    conflict: str | None
    packed: bytes
    roots: bytes
    tags: bytes
    run: str | None
    writes: Sequence[bytes]
    stored: bool = False

    @property
    def size(self) -> int:
        """Return its bytes, without those of chunks."""
        return len(self.packed) + sum(map(len, self.writes))


class Mark(NamedTuple):
    """What tells a checkpoint from another: digests of its record and of its writes, in their order."""

    ns: str
    id: str
    record: bytes
    writes: tuple[bytes, ...]

    @property
    def key(self) -> Key:
        """Return which one it is."""
        return self.ns, self.id


class Lack(NamedTuple):
    """What a copy lacks of a checkpoint, which ``mark`` says it is: all of it, or its writes but for so many."""

    mark: Mark
    whole: bool
    writes: int = 0


def lacking(have: Sequence[Mark], want: Sequence[Mark]) -> Mapping[Key, Lack] | None:
    """Return what is to be added behind ``have`` so that it is ``want``; None if adding does not make it so."""
    if len(have) > len(want):
        return None
    lacks: dict[Key, Lack] = {}
    for mine, theirs in zip(have, want, strict=False):
        count = len(mine.writes)
        if mine[:3] != theirs[:3] or mine.writes != theirs.writes[:count]:
            return None
        if len(theirs.writes) > count:
            lacks[theirs.key] = Lack(theirs, False, count)
    lacks.update((mark.key, Lack(mark, True)) for mark in want[len(have) :])
    return lacks


class MessageRecord(NamedTuple):
    """A thread's messages out of their seals: the list, None if there is none, and the batches behind it."""

    state: ThreadState
    revision: int
    packed: bytes | None
    roots: bytes
    batches: Sequence[bytes]
    given: Mapping[bytes, Chunk]  # chunks that came along

    @property
    def is_empty(self) -> bool:
        """Tell whether there are none, and never were."""
        return self.packed is None and not self.batches

    def is_begun_of(self, other: MessageRecord) -> bool:
        """Tell whether they are the other ones as they were before the last batches were appended."""
        if (self.packed, self.roots) != (other.packed, other.roots):
            return False
        return list(self.batches) == list(other.batches[: len(self.batches)])

    @property
    def digest(self) -> bytes:
        """Return what tells them from others, as they are stored; equal lists may be stored in several ways."""
        return digest(self.packed, self.roots, *self.batches)


class Openers:
    """Takes the records of one store out of their seals; raises `StoreCorrupt` for what is damaged or not its own."""

    def __init__(self, store: Store) -> None:
        backend = store.backend
        self.identities = Identities(tenant_of(backend), marks=capabilities(backend).marks_copies)
        self._serde = Serializer(allowed=())
        self._limits = store.limits

    def row(self, row: CheckpointRow) -> bytes:
        """Return what is packed of a checkpoint's record."""
        return _opened(self.identities.checkpoint(row.thread, row.ns, row.id, row.parent, row.roots), row.body)

    def writes(self, row: CheckpointRow, body: bytes) -> bytes:
        """Return what is packed of a task's writes."""
        return _opened(self.identities.writes(row.thread, row.ns, row.id), body)

    def messages(self, thread: str, row: MessagesRow) -> MessageRecord:
        """Return a thread's messages."""
        whose = self.identities.messages(thread, row.roots)
        packed = None if row.body is None else _opened(whose, row.body, empty=True)
        batch = self.identities.batch(thread)
        batches = [_opened(batch, body) for body in row.batches]
        return MessageRecord(row.state, row.revision, packed, row.roots, batches, row.chunks)

    def record(self, row: CheckpointRow, packed: bytes, writes: Sequence[bytes], stored: bool) -> CheckpointRecord:
        """Return a checkpoint as it is carried; raises `StoreCorrupt` if its metadata cannot be read."""
        outline = decode_record(self._serde, row.thread, row.id, packed, row.roots, outline=True, limits=self._limits)
        metadata = outline.metadata
        return CheckpointRecord(
            row.ns, row.id, row.parent, row.conflict, packed, row.roots, tags(metadata, NOT_TAGGED), run_of(metadata),
            writes, stored,
        )  # fmt: skip


def _opened(whose: Identity, body: bytes, empty: bool = False) -> bytes:
    packed = bytes(opened(whose, body))
    if packed[:1] not in UNPACK and (packed or not empty):
        raise NewerFormat.of("Stored bytes begin with", packed[:1])
    return packed


def mark_of(row: CheckpointRow, packed: bytes, writes: Sequence[bytes]) -> Mark:
    """Return what tells a checkpoint from others."""
    record = digest(_bytes(row.parent), _bytes(row.conflict), row.roots, packed)
    return Mark(row.ns, row.id, record, tuple(map(digest, writes)))


def digest(*parts: bytes | None) -> bytes:
    """Return what stands for some bytes; None is none of them."""
    made = blake2b(digest_size=SIZE)
    for part in parts:
        made.update(b"\xff" * 8 if part is None else len(part).to_bytes(8, "big"))
        made.update(part or b"")
    return made.digest()


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else text.encode("utf-8", "surrogatepass")

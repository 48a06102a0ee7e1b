"""Message history: a thread's messages as JSON dicts, stored by content like any state."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeAlias

from charm_checkpoint.contract import Backend, MessagesRow, NewMessages, WriteResult, tenant_of
from charm_checkpoint.errors import StoreCorrupt, corrupt
from charm_checkpoint.messages.counting import count_messages
from charm_checkpoint.plan import Plan
from charm_checkpoint.runtime.cache import Budget
from charm_checkpoint.values.chunk_reader import ChunkReader, retry_if_swept
from charm_checkpoint.values.decoder import DecodedChunk, Decoder, split
from charm_checkpoint.values.encoder import EncodedValue, Encoder
from charm_checkpoint.values.known_chunks import KnownLeaves
from charm_checkpoint.values.limits import DEFAULTS, Limits
from charm_checkpoint.values.offload import ALLOWANCE, BYTES, THING, decoding, encoding
from charm_checkpoint.values.packing import RAW, check_all, pack, pack_value, unpack_value
from charm_checkpoint.values.sealing import Identities, opened, seal, unpacked_size
from charm_checkpoint.values.serde import Serializer
from charm_checkpoint.values.serde.writer import weigh

SWEEP_EVERY = 64
"""Saves after which what earlier lists alone reached is removed, even if nothing was taken out."""
ATTEMPTS = 4
"""How often a list is put again because another writer was faster, before it is put whatever others do."""
FOLD_BATCHES, FOLD_BYTES = 16, 1 << 16
"""Each time so many batches, or bytes of them, are waiting behind a list, whoever brought the last takes them in."""

_DICTS = frozenset((dict,))

Message: TypeAlias = dict[str, Any]
"""A message as JSON: the caller's own dict, or LangChain's ``{"type": ..., "data": ...}``."""

Change: TypeAlias = Callable[[list[Message]], list[Message]]


class _List(NamedTuple):
    """A message list as read: the messages, and every address they reach."""

    row: MessagesRow
    messages: list[Message]
    known: set[bytes]


class MessageHistory:
    """The plans of message history over one backend."""

    def __init__(self, backend: Backend, budget: Budget, limits: Limits = DEFAULTS) -> None:
        self._backend = backend
        self._identities = Identities(tenant_of(backend))
        self._limits = limits
        self._serde = Serializer(allowed=(), on_unknown="raise")  # JSON is all that it stores
        self._leaves = KnownLeaves(budget)
        self._reader = ChunkReader(backend, budget, limits)

    def load(self, thread: str) -> Plan[list[Message]]:
        """Return a thread's messages, oldest first."""
        _, messages, _ = yield from self._read(thread)
        return messages

    def count(self, thread: str) -> Plan[int]:
        """Count a thread's messages, without decoding any."""
        return retry_if_swept(partial(count_messages, self._backend, thread, self._limits))

    def save(self, thread: str, messages: list[Message]) -> Plan[bool]:
        """Replace a thread's messages, all at once; nothing is left to be folded."""
        if not (yield from self._change(thread, lambda _: messages)):
            # Written whole it builds on nothing that others could take away.
            encoder, encoded = yield from encoding(partial(self._encoded, set(), messages, None))
            yield from self._put(thread, encoded, encoder, None, sweep=True)
        return False

    def append(self, thread: str, messages: list[Message]) -> Plan[bool]:
        """Add messages at the end, whatever others do; tell whether this is the time for a `fold`."""
        if not messages:
            return False
        body = yield from decoding(partial(self._sealed_batch, thread, messages), size_of(messages))
        large = len(body) >= FOLD_BYTES
        if large and (yield from self._change(thread, lambda old: old + messages)):
            return False
        waiting = yield from self._backend.append_messages(thread, body)
        return not waiting.batches % FOLD_BATCHES or waiting.size % FOLD_BYTES < len(body)

    def fold(self, thread: str) -> Plan[None]:
        """Take the batches that were appended into the list; if others are faster, that is left to them."""
        yield from self._change(thread, lambda old: old, attempts=1)

    def delete(self, thread: str) -> Plan[None]:
        """Delete a thread's messages."""
        try:
            row = yield from self._backend.messages(thread)
        except StoreCorrupt:  # what cannot be read can be deleted
            row = None
        if row is None or row.body is not None or row.batches:
            yield from self._backend.put_messages(NewMessages(thread, None, b"", (), None))

    def forget(self, thread: str) -> Plan[None]:
        """Delete a thread's messages along with the thread."""
        return self.delete(thread)

    def _change(self, thread: str, change: Change, attempts: int = ATTEMPTS) -> Plan[bool]:
        """Put a changed list in place of what is read; tell whether that came off."""
        for _ in range(attempts):
            row, old, known = yield from self._read(thread)
            new = change(old)
            # What an edit or a trim took out is removed at once: it may have been taken out for good reason.
            sweep = new[: len(old)] != old or (row.revision + 1) % SWEEP_EVERY == 0
            encoder, encoded = yield from encoding(partial(self._encoded, known, new, row.roots or None))
            reply = yield from self._put(thread, encoded, encoder, row, sweep)
            if reply.outcome == "stored":
                return True
        return False

    def _batch(self, messages: list[Message]) -> bytes:
        payload = self._serde.dumps(messages)
        return RAW + payload if len(payload) < FOLD_BYTES // FOLD_BATCHES else pack_value(payload, self._limits)

    def _sealed_batch(self, thread: str, messages: list[Message]) -> bytes:
        return seal(self._identities.batch(thread), self._batch(messages))

    def _encoded(
        self, known: set[bytes], messages: list[Message], prior: bytes | None, allowance: int | None
    ) -> tuple[Encoder, EncodedValue]:
        encoder = Encoder(self._serde, self._leaves, known, allowance, self._limits)
        return encoder, encoder.value(messages, prior)

    def _put(
        self, thread: str, encoded: EncodedValue, encoder: Encoder, row: MessagesRow | None, sweep: bool
    ) -> Plan[WriteResult]:
        """Put a list in place of ``row``, None for whatever is there."""
        roots = encoded.ref or b""
        packed = pack(encoded.inline) if encoded.inline is not None else b""
        body = seal(self._identities.messages(thread, roots), packed)
        base, expect, taken = None, None, None
        if row is not None:
            base, expect, taken = None if encoder.complete else row.state.sweeps, row.revision, len(row.batches)
        new = NewMessages(thread, body, roots, list(encoder.chunks.values()), base, expect, sweep, taken)
        return (yield from self._backend.put_messages(new))

    def _read(self, thread: str) -> Plan[_List]:
        return (yield from retry_if_swept(partial(self._read_once, thread)))

    def _read_once(self, thread: str) -> Plan[_List]:
        row = yield from self._backend.messages(thread, self._reader.known(thread, None))
        if row.body is None and row.roots:  # going on would make a list of the batches alone
            raise corrupt("The list of messages is lost, and chunks of it are named")
        if row.body is None and not row.batches:
            return _List(row, [], set())
        roots = split(row.roots)
        chunks = yield from self._reader.gather(thread, roots, row.chunks, messages=True)
        self._reader.note(thread, None, roots, chunks)
        size = sum([len(chunk.body) for chunk in chunks.values()]) + sum(map(unpacked_size, row.batches))
        messages = yield from decoding(partial(self._decoded, thread, row, chunks), size)
        return _List(row, messages, set(chunks))

    def _decoded(self, thread: str, row: MessagesRow, chunks: Mapping[bytes, DecodedChunk]) -> list[Message]:
        decoder = Decoder(self._serde, chunks, split(row.roots), self._limits)
        batch = self._identities.batch(thread)
        batches = [opened(batch, body) for body in row.batches]
        if len(batches) > 1:
            check_all(batches, self._limits)
        encoded = [EncodedValue(unpack_value(body, self._limits)) for body in batches]
        if row.body is not None:
            body = opened(self._identities.messages(thread, row.roots), row.body)
            whole = None if row.roots else unpack_value(body, self._limits)
            encoded.insert(0, EncodedValue(whole, row.roots if row.roots else None))
        messages: list[Message] = []
        for value in map(decoder.value, encoded):
            if type(value) is not list or not _DICTS.issuperset(map(type, value)):
                raise corrupt("The stored messages are no list of dicts")
            messages += value
        return messages


def size_of(messages: Sequence[Any]) -> int:
    """Return about how many bytes messages encode to, as `decoding` asks for it."""
    return 0 if weigh(messages, ALLOWANCE, THING) <= ALLOWANCE else BYTES + 1

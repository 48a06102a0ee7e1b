"""Message history: a thread's messages as JSON dicts, stored by content like any state."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from langchain_core.chat_history import BaseChatMessageHistory
from langchain_core.messages import BaseMessage, convert_to_messages, message_to_dict, messages_from_dict

from charm_checkpoint.codec import Codec, Encoder, Entry
from charm_checkpoint.contract import Backend, MessagesRow, NewMessages, Reply
from charm_checkpoint.errors import DataError, NotSerializable, PathPart, StoreUnavailable
from charm_checkpoint.packing import pack, unpack
from charm_checkpoint.plan import Plan
from charm_checkpoint.reader import ChunkReader, unswept
from charm_checkpoint.revive import Reviver, split
from charm_checkpoint.serde import Serializer

if TYPE_CHECKING:
    from charm_checkpoint.memory import Memory

Message: TypeAlias = dict[str, Any]
"""A message as JSON: the caller's own dict, or LangChain's ``{"type": ..., "data": ...}``."""

SWEEP_EVERY = 64
"""Saves after which what earlier lists alone reached is removed, even if nothing was taken out."""
ATTEMPTS = 50
"""How often an append starts again because another writer was faster."""
CACHE_BYTES = 16 << 20

Change: TypeAlias = Callable[[list[Message]], list[Message]]


class _List(NamedTuple):
    """A message list as read: the messages, their leaves, and every address they reach."""

    row: MessagesRow
    messages: list[Message]
    leaves: tuple[bytes, ...]
    known: set[bytes]


class MessageHistory:
    """The plans of message history over one backend."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._serde = Serializer(allowed=())
        self._codec = Codec(self._serde)
        self._reader = ChunkReader(backend, CACHE_BYTES)

    def load(self, thread: str) -> Plan[list[Message]]:
        """Return a thread's messages, oldest first."""
        _, messages, _, _ = yield from self._read(thread)
        return messages

    def save(self, thread: str, messages: list[Message]) -> Plan[None]:
        """Replace a thread's messages, all at once."""
        yield from self._change(thread, lambda _: messages)

    def append(self, thread: str, messages: list[Message]) -> Plan[None]:
        """Add messages at the end; two writers at once both get theirs in."""
        if messages:
            yield from self._change(thread, lambda old: old + messages)

    def delete(self, thread: str) -> Plan[None]:
        """Delete a thread's messages."""
        row = yield from self._backend.messages(thread)
        if row.body is not None:
            yield from self._backend.put_messages(NewMessages(thread, None, b"", (), None))

    def _change(self, thread: str, change: Change) -> Plan[None]:
        for _ in range(ATTEMPTS):
            row, old, leaves, known = yield from self._read(thread)
            new = change(old)
            # What an edit or a trim took out is removed at once: it may have been taken out for good reason.
            sweep = new[: len(old)] != old or (row.revision + 1) % SWEEP_EVERY == 0
            encoder = Encoder(self._codec, known)
            entry = encoder.value(new, leaves)
            reply = yield from self._put(thread, entry, encoder, row, sweep)
            if reply.outcome == "stored":
                return
        raise StoreUnavailable(f"The messages of thread {thread!r} kept changing; nothing was written, try again.")

    def _put(self, thread: str, entry: Entry, encoder: Encoder, row: MessagesRow, sweep: bool) -> Plan[Reply]:
        body = pack(entry.inline) if entry.inline is not None else b""
        base = None if encoder.complete else row.state.sweeps
        return (
            yield from self._backend.put_messages(
                NewMessages(thread, body, entry.ref or b"", list(encoder.chunks.values()), base, row.revision, sweep)
            )
        )

    def _read(self, thread: str) -> Plan[_List]:
        return (yield from unswept(partial(self._read_once, thread)))

    def _read_once(self, thread: str) -> Plan[_List]:
        row = yield from self._backend.messages(thread, self._reader.known(thread, None))
        if row.body is None:
            return _List(row, [], (), set())
        roots = split(row.roots)
        chunks = yield from self._reader.gather(thread, roots, row.chunks, messages=True)
        self._reader.note(thread, None, roots, chunks)
        entry = Entry(None, row.roots) if row.roots else Entry(unpack(row.body))
        messages, leaves = Reviver(self._serde, chunks).value(entry)
        return _List(row, messages, leaves, set(chunks))


def to_messages(messages: Iterable[Mapping[str, Any] | BaseMessage]) -> list[Message]:
    """Return messages as JSON dicts; raises `NotSerializable` with the path of what is not JSON.

    A LangChain message becomes ``{"type": ..., "data": ...}``, from which it can be restored; a
    tuple becomes a list, which is what JSON has for it.
    """
    if isinstance(messages, (str, bytes, Mapping)):
        raise NotSerializable(f"a list of messages is expected, not {type(messages).__name__}", path=("messages",))
    return [_to_message(message, number) for number, message in enumerate(messages)]


def _to_message(message: Any, number: int) -> Message:
    if isinstance(message, BaseMessage):
        message = message_to_dict(message)
    if not isinstance(message, Mapping):
        reason = f"a message is a dict or a LangChain message, not {type(message).__name__}"
        raise NotSerializable(reason, path=("messages", number))
    try:
        checked: Message = _json(message)
    except DataError as error:
        raise error.at("messages", number) from None
    return checked


def _json(value: Any) -> Any:
    """Copy a JSON value; refuse anything else, with its path."""
    if value is None or type(value) in (str, int, bool):
        return value
    if type(value) is float and math.isfinite(value):
        return value
    if isinstance(value, Mapping):
        for key in value:
            if type(key) is not str:
                raise NotSerializable(f"JSON's keys are text, not {type(key).__name__}", path=(repr(key),))
        return {key: _json_at(item, key) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_json_at(item, number) for number, item in enumerate(value)]
    raise NotSerializable(f"{type(value).__name__} {_shown(value)} is not JSON; messages are kept as JSON")


def _json_at(value: Any, step: PathPart) -> Any:
    try:
        return _json(value)
    except DataError as error:
        raise error.at(step) from None
    except RecursionError:
        raise NotSerializable("nested too deep, or in itself", path=(step,)) from None


def _shown(value: Any) -> str:
    return repr(value) if isinstance(value, float) else ""


class CharmChatHistory(BaseChatMessageHistory):
    """One thread's messages as LangChain sees them, for `RunnableWithMessageHistory`."""

    def __init__(self, memory: Memory, thread_id: str) -> None:
        self._memory = memory
        self._thread = thread_id

    @property
    def messages(self) -> list[BaseMessage]:  # type: ignore[override]
        """Return all messages, oldest first."""
        return to_langchain(self._memory.load_messages(self._thread))

    def add_messages(self, messages: Sequence[BaseMessage]) -> None:
        """Add messages at the end, atomically."""
        self._memory.append_messages(self._thread, messages)

    def clear(self) -> None:
        """Delete all messages."""
        self._memory.delete_messages(self._thread)

    async def aget_messages(self) -> list[BaseMessage]:
        """Return all messages, oldest first."""
        return to_langchain(await self._memory.aload_messages(self._thread))

    async def aadd_messages(self, messages: Sequence[BaseMessage]) -> None:
        """Add messages at the end, atomically."""
        await self._memory.aappend_messages(self._thread, messages)

    async def aclear(self) -> None:
        """Delete all messages."""
        await self._memory.adelete_messages(self._thread)


def to_langchain(messages: Iterable[Message]) -> list[BaseMessage]:
    """Restore LangChain messages from their dicts, and make them from ``role`` and ``content``."""
    restored: list[BaseMessage] = []
    for message in messages:
        if set(message) == {"type", "data"}:
            restored += messages_from_dict([message])
        else:
            restored += convert_to_messages([message])
    return restored

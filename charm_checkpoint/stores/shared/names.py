"""Ids and names as bytes and back, so that any text fits in any store; pure."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any, overload

from charm_checkpoint.contract import CheckpointRow, ThreadRow
from charm_checkpoint.errors import NewerFormat, StoreCorrupt, name_place, placing
from charm_checkpoint.values import sealing
from charm_checkpoint.values.sealing import CHECKPOINTS as CHECKPOINTS
from charm_checkpoint.values.sealing import MESSAGES as MESSAGES

log = logging.getLogger("charm_checkpoint")

RECENT = 128
"""Ids and names kept in more than one form at a time: those of calls just made, since any of them may be long."""

_UUID, _TEXT = b"u", b"t"
_SHOWN = 60
"""Bytes of a damaged name that an error shows."""


@overload
def text_bytes(text: str) -> bytes: ...
@overload
def text_bytes(text: None) -> None: ...
def text_bytes(text: str | None) -> bytes | None:
    """Encode any text, lone surrogates included."""
    return None if text is None else text.encode("utf-8", "surrogatepass")


def bytes_text(data: bytes) -> str:
    """Undo `text_bytes`; raises `StoreCorrupt` if it is no text."""
    try:
        return data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError as error:
        shown = data if len(data) <= _SHOWN else data[:_SHOWN] + b"..."
        raise StoreCorrupt(f"The stored name or id {shown!r} is no text: {error.reason} at {error.start}.") from error


@overload
def id_bytes(id: str) -> bytes: ...
@overload
def id_bytes(id: str | None) -> bytes | None: ...
@lru_cache(RECENT)
def id_bytes(id: str | None) -> bytes | None:
    """Encode an id: 17 bytes if it is a UUID in its usual form. Order among UUIDs is kept."""
    if id is None:
        return None
    if len(id) == 36 and id[8] == id[13] == id[18] == id[23] == "-":
        digits = id.replace("-", "")
        if len(digits) == 32 and set(digits) <= _HEX:
            return _UUID + bytes.fromhex(digits)
    return _TEXT + text_bytes(id)


_HEX = frozenset("0123456789abcdef")


@overload
def id_text(data: bytes) -> str: ...
@overload
def id_text(data: bytes | None) -> str | None: ...
@lru_cache(RECENT)
def id_text(data: bytes | None) -> str | None:
    """Undo `id_bytes`."""
    if data is None:
        return None
    read = IDS.get(data[:1])
    if read is None:
        raise NewerFormat.of("A stored id begins with", data[:1])
    return read(data[1:])


def _uuid_text(data: bytes) -> str:
    digits = data.hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


IDS: dict[bytes, Callable[[bytes], str]] = {_UUID: _uuid_text, _TEXT: bytes_text}
"""How to read what stands behind an id's first byte."""


def identity(tenant: bytes, kind: int, thread: str) -> bytes:
    """Return the 16 bytes by which a thread of a tenant is found."""
    return sealing.identity(tenant, kind, text_bytes(thread))


def checkpoint_row(thread: str, ns: str, row: Sequence[Any]) -> CheckpointRow:
    """Build a record from key, id, parent, conflict, roots and body as SQL returns them."""
    key, id, parent, conflict, roots, body = row
    try:
        return CheckpointRow(thread, ns, id_text(id), id_text(parent), key, body, roots, id_text(conflict))
    except StoreCorrupt as error:
        name_place(error, thread, ns)
        raise


def checkpoint_texts(name: bytes, ns: bytes | None) -> tuple[str, str]:
    """Return a thread's name and a namespace of it as texts."""
    thread = bytes_text(name)
    with placing(thread):
        return thread, bytes_text(ns or b"")


def checkpoint_keys(rows: Iterable[Sequence[Any]]) -> list[tuple[str, str, str]]:
    """Return checkpoints as texts from names, namespaces and ids, leaving out what is damaged, of which it warns."""
    found: list[tuple[str, str, str]] = []
    for name, ns, id in rows:
        try:
            thread, space = checkpoint_texts(name, ns)
            with placing(thread, space):
                found.append((thread, space, id_text(id)))
        except StoreCorrupt as error:
            log.warning("A checkpoint is not looked at: %s", error)
    return found


def thread_row(
    name: bytes | None,
    at: int,
    checkpoints: int,
    has_messages: bool,
    head: bytes | None,
    notes: Sequence[bytes | None],
    damage: str | None = None,
    size: int | None = None,
    pinned: bool = False,
) -> ThreadRow:
    """Build a thread's row; where its name or the id of its head is no text, that is its damage."""
    thread, id = None, None
    try:
        thread = None if name is None else bytes_text(name)
        id = id_text(head)
    except StoreCorrupt as error:
        damage = damage or str(error)
    title, note, writes_note = notes
    row = ThreadRow(thread, at, checkpoints, bool(has_messages), id, title, note, writes_note, damage)
    return row._replace(size=size, pinned=bool(pinned))

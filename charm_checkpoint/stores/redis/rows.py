"""Key names, rows and replies of the Redis store; pure. The layout is told in lua/common.lua."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import Any, NamedTuple, TypeAlias

from charm_checkpoint.contract import CheckpointRow, Chunk, NewCheckpoint, StoredCheckpoint, ThreadState
from charm_checkpoint.errors import ConfigError, placing
from charm_checkpoint.stores.redis.slots import slot_of, slot_text
from charm_checkpoint.stores.shared.names import (
    CHECKPOINTS,
    RECENT,
    bytes_text,
    checkpoint_row,
    id_bytes,
    identity,
    text_bytes,
)
from charm_checkpoint.values.sealing import marked

TAG_BYTES = 22
"""Characters of a thread's tag: 16 bytes in base64."""
LISTS = 16
"""Keys among which the list of threads is spread."""
PINNED = b"ffffffff"
"""The time in the entry of a pinned thread that would expire."""
INTENT = 8
"""Which of a thread's keys notes that somebody is about to write what comes first."""
LARGEST = 500 * 1000 * 1000
"""Bytes of one value; a server refuses 512 MiB (``proto-max-bulk-len``) by dropping the connection."""

Arg: TypeAlias = "bytes | int"


class Call(NamedTuple):
    """The operation: a script of lua/, by its name. The reply is the script's.

    The driver puts one argument in front: whether this call may have been executed before, its reply
    lost. ``write`` marks what replicas are to confirm. ``tidying`` is housekeeping inside a read: the reply is None
    where nothing may be written.
    """

    script: str
    keys: Sequence[bytes]
    args: Sequence[Arg]
    write: bool = False
    tidying: bool = False

    @property
    def key(self) -> bytes:
        """Return a key by which a cluster finds the server."""
        return self.keys[0]


class Command(NamedTuple):
    """A plain command on one key; it may be repeated. ``tidying`` is as in `Call`."""

    args: tuple[str | Arg, ...]
    tidying: bool = False

    @property
    def key(self) -> str | Arg:
        """Return the key by which a cluster finds the server."""
        return self.args[1]


class Everywhere(NamedTuple):
    """A script without keys, run on every server that keeps some; the reply is the list of theirs."""

    script: str


class Calls(NamedTuple):
    """Several calls and commands, sent together where one server has their keys.

    The reply is the list of theirs; of one that the server refused, as for a key of a wrong type, it is the
    `StoreCorrupt` that the call alone would have raised. ``ordered``: each is done after those before it, also where
    they are on two servers or have to be made again; then only the last may be a script.
    """

    calls: Sequence[Call | Command]
    ordered: bool = False


class Names:
    """The names of all keys of one prefix and tenant."""

    def __init__(self, prefix: str, tenant: str) -> None:
        if "{" in prefix or "}" in prefix:
            raise ConfigError("a Redis prefix cannot hold { or }: a cluster finds a thread's server by what is in them")
        self._prefix = text_bytes(prefix)
        self.tenant = tenant
        self._tenant = text_bytes(tenant)
        self._family = short(blake2b(self._tenant, digest_size=16).digest()) if tenant else b""
        self.secret: bytes | None = None
        self.tag = lru_cache(RECENT)(self._tag)
        self.thread = lru_cache(RECENT)(self._thread)

    def learn(self, secret: bytes | None) -> None:
        """Take in the store's secret, None as long as it has none."""
        if secret != self.secret:
            self.secret = secret
            self.thread.cache_clear()

    def _tag(self, thread: str) -> bytes:
        """Return what stands for a thread in names and lists."""
        return short(self.identity(thread))

    def identity(self, thread: str) -> bytes:
        """Return the bytes that a thread is found by, whose beginning is the mark of what is stored of it."""
        return identity(self._tenant, CHECKPOINTS, thread)

    def _thread(self, tag: bytes) -> tuple[bytes, ...]:
        """Return the seven keys of a thread, that of what is kept when it is erased, and that of an `INTENT`."""
        seven = (_THREAD % (self._prefix, tag, part) for part in _PARTS)
        return (*seven, self.grave(self.mark(tag)), _THREAD % (self._prefix, tag, b"intent"))

    def mark(self, tag: bytes) -> bytes:
        """Return what stands for an erased thread: its slot, and a hash that takes the store's secret to make."""
        digest = blake2b(tag, digest_size=16, key=self.secret or b"").digest()
        return slot_text(slot_of(tag)) + short(digest)

    def grave(self, mark: bytes) -> bytes:
        """Return the key of what is kept of an erased thread, which is in the slot of its keys."""
        return _GRAVE % (self._prefix, mark[:4], mark[4:])

    def graves(self) -> bytes:
        """Return the key of the list of erased threads."""
        return self._listing(0) + _GRAVES

    def stage(self, tag: bytes, token: bytes) -> bytes:
        """Return the key of what is sent ahead of a call."""
        return _AHEAD % (self._prefix, tag, token)

    def listing(self, tag: bytes) -> bytes:
        """Return the key of the part of the list of threads that a thread is in."""
        return self._listing(blake2b(tag, digest_size=1).digest()[0] % LISTS)

    def listings(self) -> list[bytes]:
        """Return the keys of the whole list of threads."""
        return [self._listing(number) for number in range(LISTS)]

    def _listing(self, number: int) -> bytes:
        return _LISTING % (self._prefix, self._family, number)

    def version(self) -> bytes:
        """Return the key of the layout's version, beside the first part of the list of threads."""
        return self._listing(0) + _VERSION

    def run(self, run: bytes) -> bytes:
        """Return the key of the threads that a run wrote to."""
        digest = blake2b(len(self._tenant).to_bytes(4, "big") + self._tenant + run, digest_size=16).digest()
        return _RUN % (self._prefix, short(digest))

    def legacy(self, thread: str) -> bytes | None:
        """Return where Charm's sample plugin kept a thread's messages; tenants have none."""
        return None if self._tenant else self._prefix + _LEGACY + text_bytes(thread)


_THREAD, _AHEAD, _RUN = b"%b:{%b}:%b", b"%b:{%b}:ahead:%b", b"%b:{%b}:run"
_GRAVE, _GRAVES = b"%b:{%b}:erased:%b", b":erased"
_LISTING, _VERSION, _LEGACY = b"%b:{threads-%b-%d}", b":version", b":memory:"
"""Names of keys; a cluster keeps those together that have the same text in braces."""

_PARTS = (b"state", b"rows", b"order", b"writes", b"chunks", b"messages", b"message-chunks")


def short(digest: bytes) -> bytes:
    """Write a digest as names of keys have it."""
    return urlsafe_b64encode(digest).rstrip(b"=")


# ------------------------------------------------------------------------------ going out


def joined(*parts: bytes) -> bytes:
    """Put parts end to end, each after its length in 3 bytes."""
    return b"".join(len(part).to_bytes(3, "big") + part for part in parts)


def optional(data: bytes | None) -> bytes:
    """Write bytes so that None and empty bytes differ: None as nothing, others with a byte in front."""
    return b"" if data is None else b"=" + data


def run_bytes(run: str | None) -> bytes:
    """Write a run's id, which is never empty; none is."""
    return id_bytes(run) or b""


def packed_row(new: NewCheckpoint) -> bytes:
    """Write a row but for its conflict mark, which the script puts in front."""
    return joined(id_bytes(new.parent) or b"", run_bytes(new.run), new.tags, new.roots) + new.body


def packed_chunks(chunks: Iterable[Chunk]) -> list[bytes]:
    """Write chunks as a flat list: address, content, address, content, and so on."""
    flat: list[bytes] = []
    for chunk in chunks:
        flat += (chunk.address, joined(chunk.refs) + chunk.data)
    return flat


# ----------------------------------------------------------------------------- coming back


def part(data: bytes, at: int) -> tuple[bytes, int]:
    """Return a part of `joined`, and where the next one starts."""
    start = at + 3
    end = start + int.from_bytes(data[at:start], "big")
    return data[start:end], end


def read_row(thread: str, ns: str, id: bytes, seq: bytes, packed: bytes) -> CheckpointRow:
    """Read a row as it is stored."""
    conflict, at = part(packed, 0)
    parent, at = part(packed, at)
    _, at = part(packed, at)
    _, at = part(packed, at)
    roots, at = part(packed, at)
    return checkpoint_row(thread, ns, (int(seq), id, parent or None, conflict or None, roots, packed[at:]))


def run_of(packed: bytes) -> bytes:
    """Return the run of a stored row."""
    _, at = part(packed, 0)
    _, at = part(packed, at)
    return part(packed, at)[0]


def marked_item(item: bytes, owner: bytes) -> bytes:
    """Return an item of a copy with the mark of its new thread; see lua/dump.lua for what an item is."""
    if item[:1] not in b"cw":
        return item
    _, at = part(item, 1 if item[:1] == b"c" else 4)
    _, at = part(item, at)
    for _ in range(5 if item[:1] == b"c" else 0):
        _, at = part(item, at)
    return item[:at] + marked(item[at:], owner)


def run_of_item(item: bytes) -> bytes:
    """Return the run of a row in a copy."""
    _, at = part(item, 1)
    _, at = part(item, at)
    return run_of(item[at:])


def read_chunks(flat: Sequence[bytes]) -> dict[bytes, Chunk]:
    """Read chunks from a flat list, as `packed_chunks` writes it."""
    found = {}
    for address, packed in zip(flat[::2], flat[1::2], strict=True):
        refs, at = part(packed, 0)
        found[address] = Chunk(address, refs, packed[at:])
    return found


def read_items(
    thread: str, state: ThreadState, rows: Iterable[Any], chunks: Mapping[bytes, Chunk]
) -> list[StoredCheckpoint]:
    """Read the rows of a page."""
    items = []
    for ns, id, seq, packed, writes in rows:
        with placing(thread):
            items.append(
                StoredCheckpoint(state, None, read_row(thread, bytes_text(ns), id, seq, packed), writes, chunks)
            )
    return items

"""How many messages a list has, told by what holds them: none of them is decoded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import ormsgpack

from charm_checkpoint.contract import Backend, Chunk, tenant_of
from charm_checkpoint.errors import StoreCorrupt, corrupt
from charm_checkpoint.plan import Plan
from charm_checkpoint.values.chunk_reader import ChunkMissing, Unpacking
from charm_checkpoint.values.decoder import DecodedChunk, decode_chunk, split
from charm_checkpoint.values.encoder import BLOB, GROUP, LEAF, MANIFEST
from charm_checkpoint.values.limits import DEFAULTS, LEVELS, Limits, too_deep, weight_of, weights
from charm_checkpoint.values.offload import decoding
from charm_checkpoint.values.packing import check_all, unpack_value, unpacked_size
from charm_checkpoint.values.sealing import Identities, opened

AT_ONCE = 100
"""Chunks that are read at a time."""


class Holding(NamedTuple):
    """A chunk as far as it counts: how many messages it holds itself, which chunks hold others, and what it weighs."""

    messages: int
    refs: tuple[bytes, ...]
    weight: int
    body: bytes = b""


def count_messages(backend: Backend, thread: str, limits: Limits = DEFAULTS) -> Plan[int]:
    """Count a thread's messages; raises `StoreCorrupt` where what holds them is damaged, or comes to too much.

    It is a `Missing` where a chunk is not there, which may also have been swept since the list was read.
    """
    row = yield from backend.messages(thread)
    identities = Identities(tenant_of(backend))
    batches = [opened(identities.batch(thread), body) for body in row.batches]
    if len(batches) > 1:
        check_all(batches, limits)
    count = sum([_length(unpack_value(body, limits)) for body in batches])
    if row.roots:
        roots = split(row.roots)
        count += _sum(roots, (yield from _reached(backend, thread, roots, limits)), limits)
    elif row.body is not None:
        count += _length(unpack_value(opened(identities.messages(thread, b""), row.body), limits))
    return count


def _reached(backend: Backend, thread: str, roots: Iterable[bytes], limits: Limits) -> Plan[dict[bytes, Holding]]:
    """Return all chunks that hold messages, or lead to those that do; each is read once, however often it is named."""
    have: dict[bytes, Holding] = {}
    unpacking = Unpacking(limits)
    frontier = list(dict.fromkeys(roots))
    for _ in range(LEVELS):
        for start in range(0, len(frontier), AT_ONCE):
            some = frontier[start : start + AT_ONCE]
            found = yield from backend.chunks(thread, some, messages=True)
            gone = next((name for name in some if name not in found), None)
            if gone is not None:
                raise ChunkMissing(f"Chunk {gone.hex()} is missing.")
            chunks = [found[name] for name in some]
            size = sum([unpacked_size(chunk.data) for chunk in chunks])
            unpacking.add(size, sum([len(chunk.data) for chunk in chunks]), len(chunks))
            have.update((yield from decoding(partial(_counted, chunks, limits), size)))
        frontier = list({ref: None for name in frontier for ref in have[name].refs if ref not in have})
        if not frontier:
            return have
    raise too_deep()


def _sum(roots: Sequence[bytes], have: Mapping[bytes, Holding], limits: Limits) -> int:
    """Add up what chunks hold, each as often as it is named; raises `StoreCorrupt` for more than may be read."""
    weighed = weights(roots, have, lambda holding: holding.weight)
    limits.check_weight(sum([weighed[root] for root in roots]))
    counted = weights(roots, have, lambda holding: holding.messages)
    count = sum([counted[root] for root in roots])
    limits.left(limits.max_elements - count)
    return count


def _counted(chunks: Iterable[Chunk], limits: Limits) -> dict[bytes, Holding]:
    return {chunk.address: _holding(decode_chunk(chunk), limits) for chunk in chunks}


def _holding(chunk: DecodedChunk, limits: Limits) -> Holding:
    """Return how many messages a chunk holds by itself, and the chunks that hold others."""
    limits.check_encoded(chunk.body, chunk.stored, 0)
    try:
        count, below = _held(chunk)
    except (TypeError, ValueError) as error:
        raise corrupt("A list of messages is damaged", error) from error
    return Holding(count, below, weight_of(len(chunk.body), len(chunk.refs)))


def _held(chunk: DecodedChunk) -> tuple[int, tuple[bytes, ...]]:
    if chunk.kind == GROUP:
        return 0, chunk.refs
    if chunk.kind == BLOB:
        return _length(chunk.body), ()
    if chunk.kind == LEAF:
        _, large, packed = ormsgpack.unpackb(chunk.body)
        return len(large) + _length(packed), ()
    if chunk.kind == MANIFEST:
        _, levels, tail = ormsgpack.unpackb(chunk.body)
        return len(tail), chunk.refs[: sum(levels)]
    raise StoreCorrupt("A list of messages is held by a chunk of another kind.")


def _length(encoded: bytes) -> int:
    """Return how many elements an encoded list has: its first byte tells the form, then comes MessagePack's header."""
    kind = encoded[1] if len(encoded) > 1 else 0
    if kind & 0xF0 == 0x90:
        return kind & 0x0F
    if kind in (0xDC, 0xDD):
        return int.from_bytes(encoded[2 : 4 if kind == 0xDC else 6], "big")
    raise StoreCorrupt("The stored messages are no list.")

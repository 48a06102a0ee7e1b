"""What inside a large value makes it large: the few largest are read and decoded, several at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import ormsgpack

from charm_checkpoint.errors import PathPart
from charm_checkpoint.inspection.building import Builder, opened_manifest
from charm_checkpoint.inspection.chunks import Shelf
from charm_checkpoint.inspection.plain_diff import key_of
from charm_checkpoint.inspection.plain_values import as_plain
from charm_checkpoint.inspection.reading import Look
from charm_checkpoint.inspection.weighing import Held, Path, Weights
from charm_checkpoint.plan import Plan
from charm_checkpoint.session import Session, Step
from charm_checkpoint.values.decoder import DecodedChunk
from charm_checkpoint.values.encoder import BLOB, DELTA, DICT, LEAF, PIECES
from charm_checkpoint.values.serde.raw import PlainSerializer

OPENED = 16 << 20
"""Encoded bytes up to which a value is decoded, and of those that are read at a time."""


def ways_inside(look: Look, thread: str, weights: Weights, values: Sequence[tuple[Held, int]]) -> Session[list[Path]]:
    """Return for each value, given with its encoded bytes, the way to the part that is most of it; none if none is."""
    ways = {at: weights.most_of(*value) for at, value in enumerate(values)}
    closed = [at for at, (where, held) in enumerate(values) if not ways[at] and where.chunk and held <= OPENED]
    for group in _groups(weights, [(at, values[at][0]) for at in closed]):
        ways.update((yield Step(partial(_opened, look, thread, group), thread)))
    return [ways[at] for at in range(len(values))]


Wanted = list[tuple[int, Held, set[bytes]]]
"""Values by number, each with where it is and the chunks to read for it."""


def _groups(weights: Weights, values: Sequence[tuple[int, Held]]) -> Iterator[Wanted]:
    """Yield what is read at a time."""
    group: Wanted = []
    names: set[bytes] = set()
    for at, where in values:
        own = {where.chunk} if where.at is not None else weights.under([where.chunk])
        if group and weights.size(names | own) > OPENED:
            yield group
            group, names = [], set()
        group.append((at, where, own))
        names |= own
    if group:
        yield group


def _opened(look: Look, thread: str, group: Wanted) -> Plan[dict[int, Path]]:
    shelf = Shelf(look.backend, look.limits, thread)
    yield from shelf.fetch(name for _, _, own in group for name in own)
    return {at: _way_in(look, shelf, where) for at, where, _ in group}


def _way_in(look: Look, shelf: Shelf, where: Held) -> Path:
    builder = Builder(PlainSerializer(), shelf, look.limits)
    chunk = builder.chunk(where.chunk)
    if chunk is None:
        return ()
    if where.at is not None:
        values = _elements(builder, chunk, where.chunk)
        return _way(as_plain(values[where.at])) if where.at < len(values) else ()
    return _way(as_plain(builder.value(where.chunk))) if chunk.kind in (BLOB, PIECES) else ()


def _elements(builder: Builder, chunk: DecodedChunk, name: bytes) -> list[Any]:
    """Return the elements that stand in a leaf, or open at the end of a list or dict; of those apart, nothing."""
    values: list[Any] = []
    if chunk.kind == LEAF:
        keys, *_ = ormsgpack.unpackb(chunk.body)
        builder.leaf(name, None if keys is None else [], values, apart=False)
    else:
        container, _, tail, refs = opened_manifest(chunk)
        builder.tail(tail, refs, [] if container & ~DELTA == DICT else None, values)
    return values


def _way(value: Any) -> Path:
    steps: list[PathPart] = []
    whole = len(key_of(value))
    while type(value) in (dict, list) and value:
        items = value.items() if type(value) is dict else enumerate(value)
        largest, step, inner = max(((len(key_of(held)), step, held) for step, held in items), key=lambda each: each[0])
        if 2 * largest < whole:
            break
        steps.append(step)
        value = inner
    return tuple(steps)

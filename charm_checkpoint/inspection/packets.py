"""The nodes that packets are sent to, where a checkpoint's packets are in chunks: their names alone are decoded."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import ormsgpack
from langgraph.checkpoint.serde.types import TASKS

from charm_checkpoint.contract import Backend
from charm_checkpoint.errors import StoreCorrupt
from charm_checkpoint.inspection.building import opened_manifest
from charm_checkpoint.inspection.chunks import Shelf
from charm_checkpoint.inspection.outlines import CheckpointOutline, small_ext
from charm_checkpoint.plan import Plan
from charm_checkpoint.values.decoder import DecodedChunk
from charm_checkpoint.values.encoder import BLOB, GROUP, LEAF, MANIFEST
from charm_checkpoint.values.limits import Limits


def with_packets(
    backend: Backend, limits: Limits, outlines: dict[Any, CheckpointOutline]
) -> Plan[dict[Any, CheckpointOutline]]:
    """Return outlines in which stands where packets are sent to, though these are too large for the record."""
    found = dict(outlines)
    shelves: dict[str, Shelf] = {}
    for key, outline in outlines.items():
        location = None if outline.record is None else outline.record.locations.get(TASKS)
        if type(location) is bytes:
            thread = outline.row.thread
            shelf = shelves.setdefault(thread, Shelf(backend, limits, thread))
            yield from shelf.reach([location])
            try:
                found[key] = outline._replace(sent=tuple(_nodes(shelf, location)))
            except (StoreCorrupt, ValueError, TypeError, LookupError):  # whoever asks for the value is told
                continue
    return found


def _nodes(shelf: Shelf, name: bytes) -> Iterator[str]:
    chunk = shelf.have.get(name)
    if not isinstance(chunk, DecodedChunk):
        return
    if chunk.kind == BLOB:
        yield from _named(ormsgpack.unpackb(chunk.body[1:], ext_hook=small_ext))
    elif chunk.kind == GROUP:
        for ref in chunk.refs:
            yield from _nodes(shelf, ref)
    elif chunk.kind == LEAF:
        _, large, packed = ormsgpack.unpackb(chunk.body)
        small = list(_named(ormsgpack.unpackb(packed[1:], ext_hook=small_ext)))
        for position, ref in zip(large, chunk.refs, strict=True):
            small[position:position] = _nodes(shelf, ref)
        yield from small
    elif chunk.kind == MANIFEST:
        _, sealed, tail, refs = opened_manifest(chunk)
        for ref in sealed:
            yield from _nodes(shelf, ref)
        names = iter(refs)
        for item in tail:
            if item is None:
                yield from _nodes(shelf, next(names))
            else:
                yield from _named(ormsgpack.unpackb(item[1:], ext_hook=small_ext))


def _named(held: Any) -> Iterator[str]:
    for name in held if type(held) is list else [held]:
        yield name if type(name) is str else "?"

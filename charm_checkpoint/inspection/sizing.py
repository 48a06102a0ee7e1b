"""What of a thread takes how much room, by what its heads and the checkpoints before them reach."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import ormsgpack

from charm_checkpoint.checking.session import Session, Step
from charm_checkpoint.contract import Query, Usage
from charm_checkpoint.errors import PathPart, format_path
from charm_checkpoint.inspection.building import Builder, opened_manifest
from charm_checkpoint.inspection.chunks import Shelf
from charm_checkpoint.inspection.history import require
from charm_checkpoint.inspection.largest import Largest
from charm_checkpoint.inspection.outlines import CheckpointOutline, is_internal
from charm_checkpoint.inspection.plain_diff import key_of
from charm_checkpoint.inspection.plain_values import as_plain
from charm_checkpoint.inspection.reading import Look, inline_part
from charm_checkpoint.inspection.sizes import ChannelSize, KindSize, SizeReport, ValueSize
from charm_checkpoint.inspection.weighing import Held, Path, Weights
from charm_checkpoint.plan import Plan
from charm_checkpoint.saver.history import with_writes
from charm_checkpoint.saver.records import Record
from charm_checkpoint.values.decoder import DecodedChunk, split
from charm_checkpoint.values.encoder import BLOB, DELTA, DICT, LEAF, PIECES
from charm_checkpoint.values.sealing import unpacked_size
from charm_checkpoint.values.serde.raw import PlainSerializer

STEPS = 20
"""Checkpoints before the head by which is told what grows."""
PAGE = 200
COUNTED = 1000
"""Checkpoints of a thread that are weighed by themselves; of more, the rest is taken to be like these."""
OPENED = 16 << 20
"""Encoded bytes up to which a value is decoded, to tell what inside it makes up most of it."""
NAMESPACES = 50
"""Namespaces whose heads are looked at, those changed last."""


def thread_sizes(look: Look, thread: str, top: int) -> Session[SizeReport]:
    """Return what of a thread takes how much room; see `Memory.size`."""
    yield Step(partial(require, look.backend, thread), thread)
    usage: Usage = yield Step(partial(look.backend.usage, thread), thread)
    heads, bodies, written, rows = yield from _heads(look, thread)
    weights = Weights(look.backend, thread)
    channels: list[ChannelSize] = []
    largest = Largest(top)
    for ns, id in heads[:NAMESPACES]:
        channels += yield Step(partial(_channels, look, thread, ns, id, weights, largest), thread)
    values = []
    for held, (ns, path, at) in largest.found():
        inside = weights.most_of(at, held)
        if not inside and held <= OPENED:
            inside = yield Step(partial(_inside, look, thread, at), thread)
        part = format_path((*path, *inside)) if inside else None
        values.append(ValueSize(format_path(path), held, ns, part))
    message_size = yield Step(partial(_messages, look, thread), thread)
    notes = [f"{weights.damaged} chunks are damaged or missing"] if weights.damaged else []
    if rows < usage.checkpoints:
        notes.append(f"the last {rows:,} checkpoints were weighed, the others are taken to be like them")
        bodies, written = (held * usage.checkpoints // rows for held in (bodies, written))
    if len(heads) > NAMESPACES:
        notes.append(f"of {len(heads):,} namespaces the {NAMESPACES} that changed last were looked at")
    return SizeReport(
        thread,
        usage.payload_bytes,
        (
            KindSize("checkpoints", usage.checkpoints, bodies),
            KindSize("writes", usage.writes, written),
            KindSize("chunks", usage.chunks, max(usage.payload_bytes - bodies - written - (message_size or 0), 0)),
            KindSize("messages", None, message_size),
        ),
        channels=tuple(sorted(channels, key=lambda each: -each.size)),
        values=tuple(values),
        counted=1,
        notes=tuple(notes),
    )


def _heads(look: Look, thread: str) -> Session[tuple[list[tuple[str, str]], int, int, int]]:
    """Return the head of each namespace, the bytes of the records and of writes, and how many records there were."""
    heads: dict[str, str] = {}
    bodies, written, count = 0, 0, 0
    after: Any = None
    while count < COUNTED:
        page = yield Step(partial(look.backend.page, Query(thread), after, PAGE, writes=False), thread)
        rows = [item.row for item in page.items if item.row is not None]
        stored = yield Step(partial(with_writes, look.backend, rows), thread)
        for row in rows:
            heads.setdefault(row.ns, row.id)
            bodies += len(row.body) + len(row.roots)
            written += sum(map(len, stored[row.thread, row.ns, row.id].writes))
        count += len(rows)
        after = page.next
        if after is None:
            break
    return list(heads.items()), bodies, written, count


def _channels(look: Look, thread: str, ns: str, id: str, weights: Weights, largest: Largest) -> Plan[list[ChannelSize]]:
    """Weigh the channels of a head, and of the checkpoints before it."""
    line = yield from look.backend.ancestors(thread, ns, id, STEPS + 1)
    outlines = [look.outliner.outline(item) for item in line if item.row is not None]
    outlines = [outline for outline in outlines if outline.record is not None]
    if not outlines:
        return []
    yield from weights.reach(name for outline in outlines for name in split(outline.row.roots))
    record = outlines[0].record
    assert record is not None
    found = []
    for name, location in record.locations.items():
        if is_internal(name, record.checkpoint.get("v")):
            continue
        if type(location) is bytes:
            stored, encoded = weights.stored(weights.under([location])), weights.encoded(location)
            for path, size, at in weights.leaves((name,), location):
                largest.add(size, (ns, path, at))
        else:
            encoded = len(_in_record(look, record, name))
            stored = _share(outlines[0], encoded)
            largest.add(encoded, (ns, (name,), Held()))
        growth = _growth(look, weights, outlines, name)
        found.append(ChannelSize(name, ns, stored, growth, len(outlines) - 1, encoded))
    return found


def _in_record(look: Look, record: Record, name: str) -> bytes:
    """Return the encoded value of a channel that stands in the record itself, nothing of one that does not."""
    location = record.locations.get(name)
    if type(location) is list:
        return look.serde.pack(location[0])
    return (inline_part(record, name) or b"") if location is None else b""


def _share(outline: CheckpointOutline, encoded: int) -> int:
    """Return how many of a record's stored bytes are those of so many encoded ones in it."""
    body = outline.row.body
    return -(-encoded * len(body) // max(unpacked_size(body), encoded, 1))


def _inside(look: Look, thread: str, where: Held) -> Plan[Path]:
    """Return the way to what makes a value large: inside an object or a dict, to the part that is most of it."""
    shelf = Shelf(look.backend, look.limits, thread)
    builder = Builder(PlainSerializer(), shelf, look.limits)
    if not where.chunk:
        return ()
    yield from shelf.fetch([where.chunk])
    chunk = builder.chunk(where.chunk)
    if chunk is None:
        return ()
    if where.at is not None:
        values = yield from _elements(shelf, builder, chunk, where.chunk)
        value = as_plain(values[where.at]) if where.at < len(values) else None
    elif chunk.kind in (BLOB, PIECES):
        yield from shelf.reach([where.chunk])
        value = as_plain(builder.value(where.chunk))
    else:
        return ()
    return _way(value)


def _elements(shelf: Shelf, builder: Builder, chunk: DecodedChunk, name: bytes) -> Plan[list[Any]]:
    """Return the elements that stand in a chunk: a leaf, or what is open at the end of a list or dict."""
    values: list[Any] = []
    if chunk.kind == LEAF:
        keys, *_ = ormsgpack.unpackb(chunk.body)
        builder.leaf(name, None if keys is None else [], values, apart=False)
    else:
        container, _, tail, refs = opened_manifest(chunk)
        yield from shelf.reach(refs)
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


def _growth(look: Look, weights: Weights, outlines: Sequence[CheckpointOutline], name: str) -> float:
    """Return how many stored bytes a checkpoint adds to a channel, on the average of the last ones."""
    if len(outlines) < 2:
        return 0.0
    total = 0
    reached: set[bytes] = set()
    before: Any = None
    for outline in reversed(outlines):
        assert outline.record is not None
        held: Any = outline.record.locations.get(name)
        if type(held) is bytes:
            own = weights.under([held], reached) if held != before else set()
            added = weights.stored(own)
            reached = reached | own
        else:
            held = _in_record(look, outline.record, name)
            added = _share(outline, len(held)) if held != before else 0
        total += added if outline is not outlines[-1] else 0
        before = held
    return total / (len(outlines) - 1)


def _messages(look: Look, thread: str) -> Plan[int | None]:
    """Return the bytes of a thread's message history; None where the store keeps it in files of its own."""
    if look.store.history is not None:
        return None
    row = yield from look.backend.messages(thread)
    weights = Weights(look.backend, thread, messages=True)
    yield from weights.reach(split(row.roots))
    return len(row.body or b"") + sum(map(len, row.batches)) + weights.stored(weights.have)

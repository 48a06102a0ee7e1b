"""What takes how much room: of one thread, by what its head and the checkpoints before it reach; of the whole store."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from charm_checkpoint.checking.session import Session, Step
from charm_checkpoint.contract import Query, Usage
from charm_checkpoint.errors import ConfigError, PathPart, format_path
from charm_checkpoint.inspection.building import Builder
from charm_checkpoint.inspection.chunks import Shelf
from charm_checkpoint.inspection.history import require
from charm_checkpoint.inspection.outlines import Outline, is_internal
from charm_checkpoint.inspection.plain_diff import key_of
from charm_checkpoint.inspection.plain_values import as_plain
from charm_checkpoint.inspection.reading import Look, inline_part
from charm_checkpoint.inspection.sizes import ChannelSize, KindSize, SizeReport, ThreadSize, ValueSize
from charm_checkpoint.inspection.weighing import Largest, Path, Weights
from charm_checkpoint.items.namespaces import ITEMS
from charm_checkpoint.plan import Plan
from charm_checkpoint.saver.history import with_writes
from charm_checkpoint.saver.threads import ThreadListing
from charm_checkpoint.values.decoder import split
from charm_checkpoint.values.encoder import BLOB
from charm_checkpoint.values.serde.raw import PlainSerializer

STEPS = 20
"""Checkpoints before the head by which is told what grows."""
PAGE = 200
COUNTED = 1000
"""Checkpoints of a thread that are weighed by themselves; of more, the rest is taken to be like these."""
NAMESPACES = 50
"""Namespaces whose heads are looked at, those changed last."""


def size(look: Look, thread: str | None, top: Any) -> Session[SizeReport]:
    """Return what takes how much room; see `Memory.size`."""
    if type(top) is not int or top < 1:
        raise ConfigError("top is how many of each kind are named, 1 or more")
    if thread is None:
        return (yield from _of_store(look, top))
    return (yield from _of_thread(look, thread, top))


# ------------------------------------------------------------------------------ the whole store


def _of_store(look: Look, top: int) -> Session[SizeReport]:
    listing = ThreadListing(look.backend, None)
    largest, total, checkpoints, counted, uncounted, messages = Largest(top), 0, 0, 0, 0, 0
    while listing.more:
        for info in listing.take((yield Step(listing.next_page))):
            checkpoints += info.checkpoints
            messages += info.has_messages
            if info.size is None:
                uncounted += 1
                continue
            counted += 1
            total += info.size
            largest.add(info.size, info)
    kinds = [KindSize("checkpoints", checkpoints), KindSize("messages", messages)]
    if look.store.items is not None:
        items = yield Step(partial(look.store.items.usage, ITEMS))
        kinds.append(KindSize("items", items.items, items.payload_bytes))
        total += items.payload_bytes
    threads = tuple(
        ThreadSize(info.thread_id or "?", held, info.checkpoints, info.title) for held, info in largest.found()
    )
    notes = (f"the size of {uncounted} threads is not counted yet",) if uncounted else ()
    return SizeReport(None, total, tuple(kinds), threads, counted=counted, uncounted=uncounted, notes=notes)


# ------------------------------------------------------------------------------ one thread


def _of_thread(look: Look, thread: str, top: int) -> Session[SizeReport]:
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
        inside: Path = yield Step(partial(_inside, look, thread, at), thread)
        values.append(ValueSize(format_path((*path, *inside)), held, ns))
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
            held = weights.stored(weights.under([location]))
            for path, encoded, at in weights.leaves((name,), location):
                largest.add(encoded, (ns, path, at))
        else:
            held = len(inline_part(record, name) or b"") if location is None else 1
            largest.add(held, (ns, (name,), b""))
        found.append(ChannelSize(name, ns, held, _growth(weights, outlines, name), len(outlines) - 1))
    return found


def _inside(look: Look, thread: str, name: bytes) -> Plan[Path]:
    """Return the way to what makes a value large: inside an object or a dict, to the part that is most of it."""
    shelf = Shelf(look.backend, look.limits, thread)
    if not name:
        return ()
    yield from shelf.fetch([name])
    builder = Builder(PlainSerializer(), shelf, look.limits)
    chunk = builder.chunk(name)
    if chunk is None or chunk.kind != BLOB:
        return ()
    value = as_plain(builder.value(name))
    steps: list[PathPart] = []
    while type(value) in (dict, list) and value:
        items = value.items() if type(value) is dict else enumerate(value)
        sized = [(len(key_of(held)), step, held) for step, held in items]
        largest, step, inner = max(sized, key=lambda each: each[0])
        if 2 * largest < sum(each for each, _, _ in sized):
            break
        steps.append(step)
        value = inner
    return tuple(steps)


def _growth(weights: Weights, outlines: Sequence[Outline], name: str) -> float:
    """Return how many bytes a checkpoint adds to a channel, on the average of the last ones."""
    if len(outlines) < 2:
        return 0.0
    total = 0
    reached: set[bytes] = set()
    before: Any = None
    for outline in reversed(outlines):
        assert outline.record is not None
        location = outline.record.locations.get(name)
        if type(location) is bytes:
            own = weights.under([location], reached) if location != before else set()
            total += weights.stored(own) if outline is not outlines[-1] else 0
            reached = reached | own
        elif location is None and outline is not outlines[-1]:
            part = inline_part(outline.record, name)
            total += len(part or b"") if part != before else 0
            location = part
        before = location
    return total / (len(outlines) - 1)


def _messages(look: Look, thread: str) -> Plan[int | None]:
    """Return the bytes of a thread's message history; None where the store keeps it in files of its own."""
    if look.store.history is not None:
        return None
    row = yield from look.backend.messages(thread)
    weights = Weights(look.backend, thread, messages=True)
    yield from weights.reach(split(row.roots))
    return len(row.body or b"") + sum(map(len, row.batches)) + weights.stored(weights.have)

"""What of a thread takes how much room, by what its heads and the checkpoints before them reach."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from charm_checkpoint.contract import CheckpointRow, StoredCheckpoint, ThreadState, Usage
from charm_checkpoint.errors import format_path
from charm_checkpoint.inspection.history import no_thread
from charm_checkpoint.inspection.insides import ways_inside
from charm_checkpoint.inspection.largest import Largest
from charm_checkpoint.inspection.outlines import CheckpointOutline, is_internal
from charm_checkpoint.inspection.reading import Look, inline_part
from charm_checkpoint.inspection.sizes import ChannelSize, KindSize, SizeReport, ValueSize
from charm_checkpoint.inspection.survey import COUNTED, NAMESPACES, Survey
from charm_checkpoint.inspection.weighing import Held, Weights
from charm_checkpoint.plan import Plan
from charm_checkpoint.saver.records import Record
from charm_checkpoint.session import Session, Step
from charm_checkpoint.values.decoder import split
from charm_checkpoint.values.sealing import unpacked_size


def thread_sizes(look: Look, thread: str, top: int) -> Session[SizeReport]:
    """Return what of a thread takes how much room; see `Memory.size`."""
    for _ in range(2):  # again if some of it is missing: a sweep may have come between
        usage: Usage = yield Step(partial(look.backend.usage, thread), thread)
        if not (usage.threads or usage.damaged):
            raise no_thread(thread)
        weights = Weights(look.backend, thread)
        survey = Survey(look.backend, thread, weights)
        yield from survey.go()
        if not weights.damaged and survey.count >= min(usage.checkpoints, COUNTED):
            break
    largest = Largest(top)
    channels: list[ChannelSize] = yield Step(partial(_channels, look, survey, weights, largest), thread)
    found = largest.found()
    insides = yield from ways_inside(look, thread, weights, [(at, held) for held, (_, _, at) in found])
    values = [
        ValueSize(format_path(path), held, ns, format_path((*path, *inside)) if inside else None)
        for (held, (ns, path, _)), inside in zip(found, insides, strict=True)
    ]
    message_size = yield Step(partial(_messages, look, thread), thread)
    bodies, written = survey.estimated(usage.checkpoints)
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
        notes=tuple(_notes(weights, survey, usage)),
    )


def _notes(weights: Weights, survey: Survey, usage: Usage) -> Iterator[str]:
    if weights.damaged:
        yield f"{weights.damaged} chunks are damaged or missing"
    if survey.count < usage.checkpoints:
        yield f"the last {survey.count:,} checkpoints were weighed, the others are taken to be like them"
    if survey.namespaces > NAMESPACES:
        yield f"of {survey.namespaces:,} namespaces the {NAMESPACES} that changed last were looked at"


def _channels(look: Look, survey: Survey, weights: Weights, largest: Largest) -> Plan[list[ChannelSize]]:
    """Weigh all channels; it reads nothing, but what does not fit in a record is damage here as in any plan."""
    yield from ()
    return [each for line in survey.lines.values() for each in _channels_of(look, line, weights, largest)]


def _channels_of(look: Look, line: Sequence[CheckpointRow], weights: Weights, largest: Largest) -> list[ChannelSize]:
    """Weigh the channels of a head, and of the checkpoints before it."""
    outlines = [look.outliner.outline(StoredCheckpoint(ThreadState(), None, row)) for row in line]
    outlines = [outline for outline in outlines if outline.record is not None]
    if not outlines:
        return []
    record = outlines[0].record
    assert record is not None
    found = []
    for name, location in record.locations.items():
        if is_internal(name, record.checkpoint.get("v")):
            continue
        if type(location) is bytes:
            stored, encoded = weights.stored(weights.under([location])), weights.encoded(location)
            for path, size, at in weights.leaves((name,), location):
                largest.add(size, (line[0].ns, path, at))
        else:
            encoded = len(_in_record(look, record, name))
            stored = _share(outlines[0], encoded)
            largest.add(encoded, (line[0].ns, (name,), Held()))
        growth = _growth(look, weights, outlines, name)
        found.append(ChannelSize(name, line[0].ns, stored, growth, len(outlines) - 1, encoded))
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
    weights.take(row.chunks)
    yield from weights.reach(split(row.roots))
    return len(row.body or b"") + sum(map(len, row.batches)) + weights.stored(weights.have)

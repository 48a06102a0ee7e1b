"""One of every kind of stored thing, taken apart to where its bytes are not covered by a hash, and how it is read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from random import Random
from typing import Any, NamedTuple

import golden_contents
import ormsgpack
import samples
from langgraph.checkpoint.base import empty_checkpoint
from mutations import BYTES, Mutation, behind, json_told_otherwise, spliced, told_otherwise

from charm_checkpoint.contract import ADDRESS_SIZE, CheckpointRow, MessagesRow, ThreadRow
from charm_checkpoint.contract_items import ItemRow
from charm_checkpoint.items.namespaces import path_of
from charm_checkpoint.items.ranking.entries import read_entry, write_entry
from charm_checkpoint.items.ranking.models import Model
from charm_checkpoint.items.results import read_stored, stored_item
from charm_checkpoint.items.values import encode
from charm_checkpoint.messages.langchain import to_langchain
from charm_checkpoint.messages.plans import MessageHistory
from charm_checkpoint.runtime.cache import Budget
from charm_checkpoint.saver.filters import Filter
from charm_checkpoint.saver.notes import noted
from charm_checkpoint.saver.pending_writes import decode_writes
from charm_checkpoint.saver.records import decode_row, encode_record, inline_values
from charm_checkpoint.saver.task_writes import encode_writes
from charm_checkpoint.saver.threads import info
from charm_checkpoint.stores.ram import RamBackend
from charm_checkpoint.values.decoder import DecodedChunk, Decoder, decode_chunk, split
from charm_checkpoint.values.encoder import EncodedValue, Encoder
from charm_checkpoint.values.known_chunks import KnownLeaves
from charm_checkpoint.values.packing import RAW, pack, unpack
from charm_checkpoint.values.sealing import Identities
from charm_checkpoint.values.serde import Serializer

SERDE = Serializer(on_unknown="raise")
IDENTITIES = Identities()


class Kind(NamedTuple):
    """A kind of stored thing: some of it, what is done to it, and how it is read as a program would."""

    things: Sequence[bytes]
    mutations: Sequence[Mutation]
    read: Callable[[bytes], object]

    def mutated(self, random: Random) -> bytes:
        """Return one of the things, damaged."""
        return random.choice(self.mutations)(random.choice(self.things), random)


def _kind(things: Sequence[bytes], read: Callable[[bytes], object], tree: Mutation | None) -> Kind:
    trees = () if tree is None else (tree,) * 8
    return Kind(things, (*BYTES, spliced(things), *trees), read)


# ---------------------------------------------------------------------------------------------------------- values


def values() -> Kind:
    """Return values of every type."""
    things = [SERDE.dumps(value) for value in (*samples.ALL, *golden_contents.values()["classes"])]
    return _kind(things, SERDE.loads, behind(1, told_otherwise))


def plain_values() -> Kind:
    """Return the same, read where no class is loaded."""
    return values()._replace(read=SERDE.loads_plain)


def runs() -> Kind:
    """Return runs of values: in rows, and by columns."""
    many = [samples.MESSAGES, golden_contents.messages(3), samples.CONTAINERS, [golden_contents.order()] * 5, [1, "a"]]
    return _kind([SERDE.dumps_many(some) for some in many], SERDE.loads_many, behind(1, told_otherwise))


def packed() -> Kind:
    """Return what is packed, as it is."""
    things = [pack(SERDE.dumps(golden_contents.messages(2))), pack(b"x" * 9000), pack(b"abc"), pack(b"")]
    return _kind(things, unpack, None)


class _Graph(NamedTuple):
    """A value in chunks, of which one is damaged."""

    encoded: EncodedValue
    chunks: Mapping[bytes, DecodedChunk]


@cache
def _graphs() -> Sequence[_Graph]:
    held = golden_contents.values()
    names = ("texts", "nested", "classes", "messages", "long delta", "numbers", "wide", "keyed", "mixed", "large")
    made = []
    for value in (*(held[name] for name in names), "ab" * 400_000, [["cd" * 300_000], 1]):
        encoder = Encoder(SERDE, KnownLeaves(Budget()))
        encoded = encoder.value(value)
        made.append(_Graph(encoded, {name: decode_chunk(chunk) for name, chunk in encoder.chunks.items()}))
    return made


def chunks() -> Kind:
    """Return chunks as ``number of the value, number of the chunk, refs, kind, body``."""
    things = []
    for number, graph in enumerate(_graphs()):
        for place, chunk in enumerate(graph.chunks.values()):
            if len(chunk.body) < 3000:
                refs = b"".join(chunk.refs)
                things.append(bytes((number, place % 256, len(chunk.refs) % 256)) + refs + chunk.kind + chunk.body)
    return Kind(things, (_in_body, _in_body, _in_body, _in_refs, *(behind(3, each) for each in BYTES)), _read_chunk)


def _parts(data: bytes) -> tuple[int, int, bytes, bytes, bytes]:
    number, place, refs = data[:3]
    end = 3 + refs * ADDRESS_SIZE
    return number, place, data[3:end], data[end : end + 1], data[end + 1 :]


def _in_body(data: bytes, random: Random) -> bytes:
    end = 4 + data[2] * ADDRESS_SIZE
    return data[:end] + told_otherwise(data[end:], random)


def _in_refs(data: bytes, random: Random) -> bytes:
    number, place, refs, kind, body = _parts(data)
    names = list(split(refs))
    others = list(_graphs()[number].chunks)
    what = random.randrange(4)
    if what == 0 or not names:
        names.insert(random.randrange(len(names) + 1), random.choice(others))
    elif what == 1:
        names.pop(random.randrange(len(names)))
    elif what == 2:
        names[random.randrange(len(names))] = random.choice(others)
    else:
        random.shuffle(names)
    return bytes((number, place, len(names) % 256)) + b"".join(names) + kind + body


def _read_chunk(data: bytes) -> object:
    number, place, refs, kind, body = _parts(data)
    graph = _graphs()[number]
    name = list(graph.chunks)[place % len(graph.chunks)]
    damaged = DecodedChunk(kind, body, split(refs))
    if _reaches(graph.chunks, damaged.refs, name):
        return None  # no chunk can reach itself: its name is its hash
    return Decoder(SERDE, {**graph.chunks, name: damaged}).value(graph.encoded)


def _reaches(held: Mapping[bytes, DecodedChunk], names: Sequence[bytes], wanted: bytes) -> bool:
    return any(name == wanted or (name in held and _reaches(held, held[name].refs, wanted)) for name in names)


# ------------------------------------------------------------------------------------------------------ checkpoints


def records() -> Kind:
    """Return the records of checkpoints, unpacked: a length, a value of that length, and values behind it."""
    things = []
    for put in golden_contents.puts():
        small = dict(list(put.values.items())[:40])
        checkpoint = {
            **empty_checkpoint(), "channel_values": small, "channel_versions": dict.fromkeys(small, 1),
            "versions_seen": {"node": dict.fromkeys(small, 1)}, "updated_channels": list(small),
        }  # fmt: skip
        encoder = Encoder(SERDE, KnownLeaves(Budget()))
        encoded = {name: encoder.value(value) if n % 2 else None for n, (name, value) in enumerate(_plain(small))}
        body, roots = encode_record(SERDE, put.thread, {**checkpoint, "channel_values": small}, put.metadata, encoded)
        things.append(bytes((len(roots) // ADDRESS_SIZE,)) + roots + unpack(body))
    return Kind(things, (_in_header, _in_header, _in_header, _in_inline, *BYTES), _read_record)


def _plain(values: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for n, (name, value) in enumerate(list(values.items())):
        if not n % 2 and type(value) not in (int, type(None)):
            values[name] = "plain"
        yield name, values[name]


def _record_parts(data: bytes) -> tuple[bytes, bytes, bytes, bytes]:
    start = 1 + data[0] * ADDRESS_SIZE
    end = start + 4 + int.from_bytes(data[start : start + 4], "big")
    return data[1:start], data[start : start + 4], data[start + 4 : end], data[end:]


def _in_header(data: bytes, random: Random) -> bytes:
    roots, _, header, inline = _record_parts(data)
    header = header[:1] + told_otherwise(header[1:], random)
    return data[:1] + roots + len(header).to_bytes(4, "big") + header + inline


def _in_inline(data: bytes, random: Random) -> bytes:
    roots, size, header, inline = _record_parts(data)
    inline = inline[:1] + told_otherwise(inline[1:], random) if inline else b"\1\1"
    return data[:1] + roots + size + header + inline


def _row(data: bytes) -> CheckpointRow:
    start = 1 + (data[0] if data else 0) * ADDRESS_SIZE
    return CheckpointRow("t", "", "id", None, 1, RAW + data[start:], data[1:start])


def _read_record(data: bytes) -> object:
    record = decode_row(SERDE, IDENTITIES, _row(data))
    Filter({"user.name": "ann", "step": {"$gt": 3}}).matches(record.metadata)
    held = inline_values(SERDE, record)
    dict(record.checkpoint["channel_versions"]), list(record.checkpoint["versions_seen"].values())
    return {name: held[name] for name, location in record.locations.items() if type(location) is not bytes}


def outlines() -> Kind:
    """Return the same, read as prunes and listings do, which need no class."""
    return records()._replace(read=_read_outline)


def _read_outline(data: bytes) -> object:
    return decode_row(SERDE, IDENTITIES, _row(data), outline=True)


def writes() -> Kind:
    """Return pending writes, unpacked."""
    things = [
        unpack(encode_writes(SERDE, some, task, path, None))
        for put in golden_contents.puts()
        for task, path, some in put.writes
    ]
    return _kind(
        things, lambda data: decode_writes(SERDE.loads, [RAW + data, RAW + things[0]]), behind(1, told_otherwise)
    )


def notes() -> Kind:
    """Return the notes of a thread."""
    values = {"messages": golden_contents.messages(1)}
    made = noted("", {"id": "id", "channel_values": values}, {"step": 3, "source": "loop"})
    return _kind([made.note or b"", ormsgpack.packb([2, 7])], _read_note, told_otherwise)


def _read_note(data: bytes) -> object:
    rows = [ThreadRow("t", 1, 1, False, "id", data, data, None), ThreadRow("t", 1, 1, False, "id", None, None, data)]
    return [info(row) for row in rows]


# ---------------------------------------------------------------------------------------------------------- messages


def messages() -> Kind:
    """Return messages, unpacked: those of a list's body, or of a batch behind it."""
    serde = Serializer(allowed=(), on_unknown="raise")
    things = [serde.dumps(some) for some in golden_contents.MESSAGES.values()]
    history = MessageHistory(RamBackend(), Budget())

    def read(data: bytes) -> object:
        row = MessagesRow(body=RAW + data, batches=[RAW + things[1]], state=None)  # type: ignore[arg-type]
        return to_langchain(history._decoded("t", row, {}))

    return _kind(things, read, behind(1, told_otherwise))


# ------------------------------------------------------------------------------------------------------------- items


def items() -> Kind:
    """Return values of items, of both forms."""
    value = {"kind": "fact", "text": "a\ud800b", "n": [1, 2.5, None, {"deep": [{}]}], "many": {"x": 1}}
    things = [encode(value), encode(value, ["text", "n"]), encode({"long": 10**5000}, False), encode({}, False)]
    return _kind(things, _read_item, behind(1, json_told_otherwise))


def _read_item(data: bytes) -> object:
    row = ItemRow(path_of(("users", "7")), b"key", data, 1, 2)
    Filter({"kind": "fact", "many.x": {"$gt": 0}}).matches(read_stored(row).value)
    return stored_item(row)


def entries() -> Kind:
    """Return what searches know of items."""
    things = [
        write_entry(["some words, and more words of a text"] * n, [[1.0, 0.5, 0.1]] * n, b"identity")[0] for n in (1, 3)
    ]
    return _kind([*things, write_entry(["no vectors at all"])[0]], read_entry, None)


def models() -> Kind:
    """Return what is known of models of embedding."""
    return _kind([Model(b"identity", 3, (0.5, 0.25, 0.125), 0.3, 0.1).to_bytes()], Model.from_bytes, None)


def places_of_items() -> Kind:
    """Return spaces and keys of items."""
    things = [path_of(("users", "7")), b"key", path_of(("\ud800",))]
    number = {b"0": 7, b"7": 2**63 - 1, b"u": -1}

    def read(data: bytes) -> object:
        return stored_item(ItemRow(data, data, encode({"a": 1}), 1, number.get(data[-1:], len(data))))

    return _kind(things, read, None)


KINDS: Mapping[str, Callable[[], Kind]] = {
    make.__name__.replace("_", " "): cache(make)
    for make in (
        values, plain_values, runs, packed, chunks, records, outlines, writes, notes, messages, items, entries, models,
        places_of_items,
    )
}  # fmt: skip
"""All kinds, by what they are called."""

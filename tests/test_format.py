"""The page on the storage format says what the code does, and its examples are what the code writes and reads."""

from __future__ import annotations

import json
import re
import sqlite3
import sys
import zipfile
from base64 import b64decode
from collections.abc import Iterable
from contextlib import closing
from hashlib import blake2b
from pathlib import Path
from typing import Any

import golden_contents_3 as third
import ormsgpack
import pytest
from conftest import or_skip
from format_page import bare, block_bytes, blocks, example, literal, sections, table
from format_reader import Reader, read_files, read_redis, read_sqlite
from golden_stores import FOLDER, LATEST
from golden_stores import text as text_of
from stores import postgres_url
from strict import same

from charm_checkpoint import open_memory
from charm_checkpoint.contract import NESTED, NewCheckpoint
from charm_checkpoint.contract_items import ItemChange, ItemKey, ItemRow
from charm_checkpoint.items import values as item_values
from charm_checkpoint.items.ranking import codes, entries, models
from charm_checkpoint.messages.plans import MessageHistory
from charm_checkpoint.runtime.cache import Budget
from charm_checkpoint.saver import pending_writes, records, threads
from charm_checkpoint.saver.notes import note_of_writes, noted
from charm_checkpoint.saver.pending_writes import decode_writes
from charm_checkpoint.saver.records import decode_record, encode_record, inline_values
from charm_checkpoint.saver.tags import tags
from charm_checkpoint.saver.task_writes import encode_writes
from charm_checkpoint.stores.files import contents as log_contents
from charm_checkpoint.stores.files import log, shapes
from charm_checkpoint.stores.files import space as item_logs
from charm_checkpoint.stores.files.draft import Draft
from charm_checkpoint.stores.files.store import ITEM_FOLDER
from charm_checkpoint.stores.postgres_schema import schema, signatures
from charm_checkpoint.stores.ram import RamBackend
from charm_checkpoint.stores.redis import item_rows as redis_item_rows
from charm_checkpoint.stores.redis import layout as redis_layout
from charm_checkpoint.stores.redis import rows as redis_rows
from charm_checkpoint.stores.shared import names
from charm_checkpoint.stores.shared.names import id_bytes, id_text, identity
from charm_checkpoint.stores.sqlite import schema as sqlite_schema
from charm_checkpoint.values import codes as extension_codes
from charm_checkpoint.values import decoder, encoder, packing, sealing
from charm_checkpoint.values.decoder import Decoder, decode_chunk
from charm_checkpoint.values.encoder import Encoder, is_small
from charm_checkpoint.values.known_chunks import KnownLeaves
from charm_checkpoint.values.packing import pack, unpack
from charm_checkpoint.values.serde import Serializer, classes, forms, known_classes, values

SERDE = Serializer()


# ------------------------------------------------------------------------------------ tables


def numbered(rows: list[list[str]]) -> dict[str, int]:
    """Return the numbers of a table by the names beside them."""
    return {bare(name): int(number, 16 if re.fullmatch("[0-9a-f]{2}", number) else 10) for number, name, *_ in rows}


def test_the_codes_of_extensions() -> None:
    rows = table("Values", "Code")
    told = {bare(name): int(code) for code, name, *_ in rows}
    modules = (extension_codes, classes)
    assert told == {name: getattr(module, name) for module in modules for name in told if hasattr(module, name)}
    assert sorted(told.values()) == sorted([*values.DECODERS, *classes.KINDS])


def test_first_bytes_and_kinds() -> None:
    kinds = {name: bytes((code,)) for name, code in numbered(table("Chunks", "Kind")).items()}
    assert kinds == {name: getattr(encoder, name) for name in ("BLOB", "PIECES", "RAW", "LEAF", "GROUP", "MANIFEST")}
    packed = {name: bytes((code,)) for name, code in numbered(table("Packed bytes", "Byte")).items()}
    assert packed == {"RAW": packing.RAW, "ZSTD": packing.ZSTD}
    runs = {name: bytes((code,)) for name, code in numbered(table("Runs", "Byte")).items()}
    assert runs == {"LIST": forms.LIST, "COLUMNS": forms.COLUMNS}
    containers = {bare(name): int(code) for code, name, _ in table("Chunks", "Container")}
    assert containers == {text: eval(text, vars(encoder)) for text in containers}


def test_the_dictionary() -> None:
    [text] = blocks("Packed bytes")
    assert b64decode(text) == packing._WORDS
    said = f"({len(packing._WORDS):,} bytes, BLAKE2b-128 `{blake2b(packing._WORDS, digest_size=16).hexdigest()}`)"
    assert said in " ".join(sections()["Packed bytes"].split())


def test_the_short_names_of_classes() -> None:
    assert {
        bare(short): bare(long) for short, long in table("Names of classes", "Short name")
    } == known_classes.SHORT_NAMES


def test_the_status_of_notes() -> None:
    assert [bare(name) for _, name in table("Threads, ids, marks", "Status")] == list(threads._STATUS)


def columns(heading: str) -> dict[str, list[str]]:
    return {bare(name): names.split(", ") for name, names, _ in table(heading, "Table")}


def test_the_tables_of_sqlite(tmp_path: Path) -> None:
    with open_memory(f"sqlite:///{tmp_path}/a.db") as memory:
        memory.setup()
    with closing(sqlite3.connect(tmp_path / "a.db")) as database:
        tables = [name for [name] in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        made = {name: [row[1] for row in database.execute(f"PRAGMA table_info({name})")] for name in tables}
        [[owner]] = database.execute("PRAGMA application_id")
    assert columns("SQLite") == made
    assert f"`application_id` {owner}" in sections()["SQLite"]


def test_the_tables_of_postgres() -> None:
    import psycopg

    url = or_skip(postgres_url)
    with open_memory(url) as memory:
        memory.setup()
    with psycopg.connect(url) as connection:
        rows = connection.execute(
            "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'charm_checkpoint'"
            " ORDER BY table_name, ordinal_position"
        ).fetchall()
    made: dict[str, list[str]] = {}
    for name, column in rows:
        made.setdefault(name, []).append(column)
    assert columns("Postgres and Supabase") == made
    assert f"`{schema.SCHEMA}` unless" in sections()["Postgres and Supabase"]


def test_the_functions_of_postgres() -> None:
    told = {bare(name): (takes, gives) for name, takes, gives in table("Postgres and Supabase", "Function")}
    assert told == {
        name: (", ".join(one.takes), ", ".join(f"{column} {kind}" for column, kind in one.gives.items()))
        for name, one in signatures.FUNCTIONS.items()
    }


def test_the_keys_of_redis() -> None:
    assert [bare(name).encode() for name, *_ in table("Redis and Valkey", "Part")] == list(redis_rows._PARTS)
    assert [bare(name).encode() for name, *_ in table("Items in Redis", "Part")] == list(redis_item_rows._PARTS)
    found: dict[str, set[str]] = {"state": set(), "messages": set()}
    parts = set()
    for command, key, *args in commands():
        part = key.rpartition(b":")[2].decode()
        if command == b"HSET" and part in found:
            found[part] |= {chr(field[0]) for field in args[::2]}
        parts |= {part} & {bare(name) for name, *_ in table("Items in Redis", "Part")}
        assert part != "space" or {*args[::2]} <= {b"s", b"r", b"b", b"l"}
    assert parts == {part.decode() for part in redis_item_rows._PARTS} - {"item-intent"}
    for part, fields in found.items():
        told = set(re.findall(r"`(\w)`", " ".join(row[0] for row in table("Redis and Valkey", f"Field of `{part}`"))))
        assert fields <= told, part


def commands() -> list[list[bytes]]:
    """Return the commands that make the keys of Redis in the latest golden store."""
    return [[*map(b64decode, json.loads(line))] for line in text_of(FOLDER / LATEST / "redis.zip").splitlines()]


def test_the_frames_of_logs() -> None:
    told = {bare(name): int(kind) for kind, name, *_ in table("Local files", "Kind")}
    assert told == {name: getattr(log_contents, name) for name in ("START", "PUT", "WRITES", "CHUNKS", "LIST", "BATCH")}
    assert sorted(told.values()) == sorted(log_contents._KINDS)
    assert f"`{log.MARK.hex(' ')}`" in table("Local files", "Bytes")[0][1]


def test_the_frames_of_logs_of_items() -> None:
    told = {bare(name): int(kind) for kind, name, *_ in table("Items in local files", "Kind")}
    assert told == {"SPACE": item_logs.SPACE, "ITEMS": item_logs.ITEMS}
    assert sorted(told.values()) == sorted(item_logs.KINDS)
    assert not set(item_logs.KINDS) & set(log_contents._KINDS)
    assert ITEM_FOLDER in table("Items in local files", "Path in the folder")[0][0].split("/")


def test_the_versions_that_are_known() -> None:
    told = {what: known for what, _, known in table("Where the versions are", "What")}
    steps = [[step.version for step in all_of] for all_of in (sqlite_schema.MIGRATIONS, schema.migrations())]
    assert steps == [listed(told["tables in SQLite"]), listed(told["tables in Postgres, Supabase"])]
    assert redis_layout.VERSION == redis_layout.ITEMS
    assert listed(told["layout in Redis"]) == list(range(1, redis_layout.VERSION + 1))
    assert told["log of a thread in local files"] == f"`{log.MARK.hex(' ')}`; 1, 2, 3"
    assert list(log_contents.FORMATS) == [1, 2, 3] and log_contents.FORMAT == 3
    assert told["log of a space of items in local files"] == f"`{log.MARK.hex(' ')}`; 1"
    assert list(item_logs.FORMATS) == [1] and item_logs.FORMAT == 1
    checked = {shapes.START: tuple(log_contents.FORMATS), shapes.SPACE: tuple(item_logs.FORMATS)}
    assert checked == shapes.CHECKED_FORMATS  # or the heads of a new one are taken in as they are
    assert first_bytes(packing.UNPACK) == listed(told["packed bytes"])
    assert first_bytes([sealing.SEALED]) == listed(told["sealed bytes"])
    kinds = {*decoder.WHOLE, *decoder.LEAVES, *decoder.PIECE, encoder.GROUP}
    assert first_bytes(kinds) == listed(told["chunk"])
    assert first_bytes(forms.VALUES) == first_bytes(forms.PLAIN_VALUES) == listed(told["value"])
    assert first_bytes(forms.RUNS) == listed(told["run of values"])
    assert sorted([*values.DECODERS, *classes.KINDS]) == listed(told["object inside a value"])
    assert sorted(encoder.CONTAINERS) == listed(told["manifest"])
    assert list(records.FORMS) == [records.FIRST] == [0x7F] and told["record of a checkpoint"] == "0"
    assert first_bytes(pending_writes.FORMS) == listed(told["pending writes, message lists and batches"])
    assert first_bytes(names.IDS) == [int(byte, 16) for byte in told["id"].split(", ")]
    assert list(range(len(threads._STATUS))) == listed(told["note of a thread"])
    assert first_bytes([item_values._PLAIN, item_values._ABOUT]) == listed(told["value of an item"])
    known = listed(told["entry of an item, what is known of a model"])
    assert first_bytes(entries._READERS) == first_bytes([models._VERSION]) == known
    assert told["tags of a checkpoint"].startswith(f"`{NESTED.hex(' ')}`")


def listed(text: str) -> list[int]:
    """Return the numbers that a text like ``1 to 31, 40`` lists."""
    found: list[int] = []
    for part in text.split(", "):
        first, _, last = part.partition(" to ")
        found += range(int(first), int(last or first) + 1)
    return found


def first_bytes(known: Iterable[bytes]) -> list[int]:
    return sorted(byte for [byte] in known)


# ---------------------------------------------------------------------------------- examples


VALUES = [*table("Values", "Value"), *table("Values", "Also"), *(row[3:] for row in table("Values", "Code"))]


@pytest.mark.parametrize(
    ("text", "stored"), [row for row in VALUES if "Old" not in row[0] or sys.version_info < (3, 14)]
)
def test_values(text: str, stored: str) -> None:
    value, data = example(bare(text)), bytes.fromhex(bare(stored))
    assert SERDE.dumps(value) == data
    assert same(SERDE.loads(data), value)


@pytest.mark.parametrize(("text", "stored"), table("Runs", "Values"))
def test_runs(text: str, stored: str) -> None:
    run, data = example(bare(text)), bytes.fromhex(bare(stored))
    assert SERDE.dumps_many(run) == data
    assert same(SERDE.loads_many(data), run)


@pytest.mark.parametrize(("text", "stored"), table("Packed bytes", "Payload"))
def test_packed(text: str, stored: str) -> None:
    payload, data = literal(bare(text)) if "*" not in text else example(bare(text)), bytes.fromhex(bare(stored))
    assert unpack(data) == payload
    assert pack(payload)[:1] == data[:1]
    assert data[:1] == b"\1" or pack(payload) == data


def test_seals() -> None:
    ours, anns = sealing.Identities(), sealing.Identities("ann")
    packed, roots = b"\0abc", b"r" * 16
    made = [
        (ours.checkpoint("t", "", "c1", None, b""), packed),
        (ours.writes("t", "n", "c1"), packed),
        (ours.messages("t", roots), b""),
        (ours.batch("t"), packed),
        (anns.item(b"ia\0", b"k"), b"\1{}"),
    ]
    for (whose, inner), (_, stored) in zip(made, table("Seals", "Thing"), strict=True):
        assert sealing.seal(whose, inner) == bytes.fromhex(bare(stored))
        assert sealing.opened(whose, bytes.fromhex(bare(stored))) == inner
    told = [bare(array).split('"')[1] for _, array in table("Seals", "What")]
    assert [ormsgpack.unpackb(whose.about)[0] for whose, _ in made] == told


def test_chunks() -> None:
    encoder = Encoder(SERDE, KnownLeaves())
    encoded = encoder.value("x" * 600)
    [chunk] = encoder.chunks.values()
    small, large = blocks("Chunks")
    assert unpack(chunk.data) == block_bytes(small) + b"x" * 599
    assert f"`{chunk.address.hex(' ')}`" in sections()["Chunks"]
    assert Decoder(SERDE, {chunk.address: decode_chunk(chunk)}).value(encoded) == "x" * 600
    whole = ["a" * 1000, 7, "b" * 100]
    encoder = Encoder(SERDE, KnownLeaves())
    encoded = encoder.value(whole)
    assert encoded.ref is not None
    assert unpack(encoder.chunks[encoded.ref].data) == block_bytes(large)
    assert Decoder(SERDE, {name: decode_chunk(one) for name, one in encoder.chunks.items()}).value(encoded) == whole


def test_identities_ids_and_tags() -> None:
    for tenant, kind, thread, stored in table("Threads, ids, marks", "Tenant"):
        made = identity(literal(bare(tenant)).encode(), int(kind), literal(bare(thread)))
        assert made == bytes.fromhex(bare(stored))
    for text, stored in table("Threads, ids, marks", "Id"):
        id = literal(bare(text))
        assert (id_bytes(id), id_text(bytes.fromhex(bare(stored)))) == (bytes.fromhex(bare(stored)), id)
    for text, stored in table("Threads, ids, marks", "Metadata"):
        assert tags(example(bare(text))) == bytes.fromhex(bare(stored))


def test_notes() -> None:
    def note(values: Any, metadata: Any) -> bytes | None:
        return noted("", {"id": "c1", "channel_values": values}, metadata).note

    made = [
        note({}, {"step": 1, "source": "loop"}), note({"__start__": 1}, {"source": "input"}),
        note_of_writes("", "c1", ["__interrupt__"]), note_of_writes("", "c1", ["__error__"]),
    ]  # fmt: skip
    assert made == [bytes.fromhex(bare(stored)) for _, stored in table("Threads, ids, marks", "Note of `c1`")]


def test_records() -> None:
    held = {"step": 1, "log": [1, 2], "long": "x" * 600}
    checkpoint = {
        "v": 4, "ts": "2026-01-02T03:04:05+00:00", "id": "c1", "channel_values": held,
        "channel_versions": dict.fromkeys(held, 1), "versions_seen": {}, "updated_channels": None,
    }  # fmt: skip
    metadata = {"source": "loop", "step": 1, "thread_id": "t"}
    encoder = Encoder(SERDE, KnownLeaves())
    encoded = {name: None if is_small(value) else encoder.value(value) for name, value in held.items()}
    body, roots = encode_record(SERDE, "t", checkpoint, metadata, encoded)
    [block] = blocks("Records")
    assert unpack(body) == block_bytes(block)
    record = decode_record(SERDE, "t", "c1", pack(block_bytes(block)), roots)
    assert record.checkpoint == {**checkpoint, "channel_values": {}}
    assert (record.metadata, record.locations["long"]) == (metadata, roots)
    assert inline_values(SERDE, record) == {"step": 1, "log": [1, 2]}


def test_pending_writes() -> None:
    writes = [("log", [3]), ("__error__", "boom")]
    body = encode_writes(SERDE, writes, "task-1", "~__pregel_pull, node", None)
    [block] = blocks("Pending writes")
    assert unpack(body) == block_bytes(block)
    found = decode_writes(SERDE.loads, [pack(block_bytes(block))])
    assert sorted(found) == sorted(("task-1", *write) for write in writes)


def test_batches() -> None:
    batch = [{"role": "user"}]
    body = MessageHistory(RamBackend(), Budget())._batch(batch)
    [block] = blocks("Message lists and batches")
    assert body == block_bytes(block)
    assert SERDE.loads(unpack(body)) == batch


def test_entries_of_items() -> None:
    entry, vectors, model = map(block_bytes, blocks("Entries of items"))
    known = models.Model(b"model-id", 2, codes.row_of(codes.row_bytes((0.0, 0.95))), 0.25, 0.5)
    assert known.to_bytes() == model and models.Model.from_bytes(model) == known
    assert entries.write_entry(["The train, the boat: größe"], [[3.0, 4.0]], known) == (entry, vectors)
    waiting, _ = entries.write_entry(["train"], waiting=True)
    assert f"`{waiting.hex(' ')}`" in sections()["Entries of items"]
    parsed = entries.read_entry(entry)
    assert parsed == ({"train": 1, "boat": 1, "grösse": 1, "the": 2}, b"model-id", 1, 2, b"\x80", False, True)


def test_keys_of_redis() -> None:
    ours, anns = redis_rows.Names("charm", ""), redis_rows.Names("charm", "ann")
    tag, other = ours.tag("t"), anns.tag("t")
    ours.learn(b"s" * 16)
    made = [
        ours.thread(tag)[0], anns.thread(other)[0], ours.listing(tag), anns.listing(other), ours.version(),
        ours.run(b"tr"), ours.stage(tag, b"k"), ours.legacy("t"), ours.thread(tag)[7], ours.graves(),
        ours.thread(tag)[redis_rows.INTENT],
    ]  # fmt: skip
    assert made == [bare(key).encode() for _, key in table("Redis and Valkey", "Example")]


def test_rows_of_redis() -> None:
    new = NewCheckpoint("t", "", "c2", "c1", b"body", b"r" * 16, b"tagstags", "run", (), None, None, "allow")
    [[_, stored]] = table("Redis and Valkey", "Row")
    made = redis_rows.joined(b"") + redis_rows.packed_row(new)
    assert made == bytes.fromhex(bare(stored))
    row = redis_rows.read_row("t", "", id_bytes("c2"), b"1", made)
    assert (row.parent, row.conflict, row.roots, row.body) == ("c1", None, b"r" * 16, b"body")


def test_items_of_redis() -> None:
    ours, anns = redis_item_rows.ItemNames("charm", ""), redis_item_rows.ItemNames("charm", "ann")
    path = b"iusers\x007\x00"
    made = [ours.keys(path)[0], anns.keys(path)[0], ours.stage(path, b"k"), ours.listing[0], anns.listing[1]]
    assert made == [bare(key).encode() for _, key in table("Items in Redis", "Example")]
    item = ItemKey(path, b"k")
    rows = [
        redis_item_rows.read_row(item, bytes.fromhex(bare(row)), b"v") for _, row in table("Items in Redis", "Item")
    ]
    assert rows == [ItemRow(*item, b"v", 1, 2), ItemRow(*item, b"v", 1, 2, 3, 4)]


def test_frames() -> None:
    contents = log_contents.Contents(thread="t")
    contents.count(b"hosthost")
    data, frame = log.encode(contents.start(identity(b"", 0, "t")), 0, log.FIRST)
    [block] = blocks("Local files")
    assert data == block_bytes(block)
    read = log_contents.Contents()
    read.apply(frame)
    assert (read.thread, read.state.seq, read.hosts) == ("t", 1, {b"hosthost": 1})
    assert read.identity == identity(b"", 0, "t")


def test_frames_of_items() -> None:
    draft = Draft(b"ia\0", item_logs.Space(), b"hosthost", 1000)
    draft.change(ItemChange(b"ia\0", b"k", b"value", b"tags", b"e", b"v", ttl=60))
    kept, more = draft.anew()
    data, read = b"", item_logs.Space()
    for entry in (*kept.entries(), *more):
        made, frame = log.encode(entry, read.end, read.digest)
        read.apply(frame)
        data += made
    [block] = blocks("Items in local files")
    assert data == block_bytes(block)
    item = read.items[b"k"]
    assert (read.path, read.hosts, item.row(b"ia\0", b"k", data[item.at : item.at + item.value])) == (
        b"ia\0", {b"hosthost": 1000}, ItemRow(b"ia\0", b"k", b"value", 1000, 1000, 60, 1060),
    )  # fmt: skip


def check_examples() -> None:
    """Check all of them, in a process that is no test's."""
    for text, stored in VALUES:
        if "Old" not in text or sys.version_info < (3, 14):
            test_values(text, stored)
    for check, rows in ((test_runs, table("Runs", "Values")), (test_packed, table("Packed bytes", "Payload"))):
        for text, stored in rows:
            check(text, stored)
    for test in (
        test_seals, test_chunks, test_identities_ids_and_tags, test_notes, test_records, test_pending_writes,
        test_batches, test_keys_of_redis, test_rows_of_redis, test_items_of_redis, test_frames, test_frames_of_items,
        test_entries_of_items,
    ):  # fmt: skip
        test()


# ---------------------------------------------------------------------------- golden stores


def test_a_golden_store_is_read_by_the_page_alone_and_holds_every_form(tmp_path: Path) -> None:
    zipfile.ZipFile(FOLDER / LATEST / "sqlite.zip").extractall(tmp_path)
    reader = read_sqlite(tmp_path / "agent.db", words())
    check_items(reader)
    found = of_reader(reader)
    assert found["touched"] == found["removed"] == {False, True}
    assert found["packed"] == {0, 1}
    assert found["sealed"] == {bare(array).split('"')[1] for _, array in table("Seals", "What")}
    assert found["kind"] == set(range(1, 7))
    assert found["run"] == {2, 3}
    assert found["container"] == set(range(4))
    assert found["levels"] >= {1, 3}
    assert found["place"] == {"int", "list", "NoneType"}
    assert found["write"] == {0, -1, -2, -3, -4}
    assert found["status"] == {0, 1, 2, 3}
    assert found["id"] == {b"u", b"t"}
    assert found["tags"] == found["list"] == {False, True}
    assert found["batch"] == {0, 1}
    assert found["code"] == {int(code) for code, *_ in table("Values", "Code")}
    assert {mark for name in found["class"] for mark in re.findall("#[0-9a-f]{8}@", name)}
    assert {shape for name in found["class"] for shape in re.findall("@[A-Za-z0-9_-]{6,}$", name)}
    own = {short for short, name in known_classes.SHORT_NAMES.items() if name.startswith(("langchain", "langgraph"))}
    assert own - found["class"] == {"b", "B"}, "bases of messages, of which nobody has instances"


def test_items_in_golden_files_are_read_by_the_page_alone(tmp_path: Path) -> None:
    zipfile.ZipFile(FOLDER / LATEST / "files.zip").extractall(tmp_path)
    reader = read_files(tmp_path)
    check_items(reader)
    found = of_reader(reader)
    assert found["frame"] == {item_logs.SPACE, item_logs.ITEMS}
    assert found["row"] == {0, 1, 8}


def test_items_in_golden_keys_of_redis_are_read_by_the_page_alone() -> None:
    check_items(read_redis(commands()))


def words() -> bytes:
    """Return the dictionary of packed bytes."""
    [held] = blocks("Packed bytes")
    return b64decode(held)


def of_reader(reader: Reader) -> dict[str, set[Any]]:
    """Return the forms that a reader met, by what they are of."""
    return {what: {which for other, which in reader.met if other == what} for what, _ in reader.met}


def check_items(reader: Reader) -> None:
    """Check the items that the page's reader found, and that every form of them was there."""
    found = {(item.namespace, item.key): item for item in reader.items}
    assert len(found) == len(reader.items)
    for at, held in third.held().items():
        item = found.pop(at)
        assert same(item.value, held.value), at
        assert item[4:8] == (held.created, held.updated, held.ttl, held.expires)
    for key, value in third.MEANT.items():
        item = found.pop((third.MEANINGS, key))
        assert (item.value, item.vectors * third.DIMS * 2) == (value, len(third.packed_vectors(value)))
    late, waiting = found.pop((third.LATE, "k")), found.pop((third.WAITING, "k"))
    assert (late.value, late.vectors, waiting.value, waiting.vectors) == (third.LATE_VALUE, 1, third.WAITING_VALUE, 0)
    assert found.pop((third.EXPIRED.namespace, third.EXPIRED.key)).value == third.EXPIRED.value and not found
    of_user = {item.key: item for item in reader.items if item.namespace == third.USER}
    assert (of_user["unindexed"].index, of_user["unindexed"].words) == (False, {})
    assert (of_user["paths"].index, set(of_user["paths"].words)) == (["title", "at[*]"], {"harbour", "pilot", "1"})
    assert of_user["k"].words == {"second": 1, "lighthouse": 1, "a": 1}
    met = of_reader(reader)
    assert met["realm"] == {b"i", b"c", b"e"}
    assert (met["item"], met["about"], met["entry"]) == ({1, 2}, {"index", "big"}, {1})
    assert met["waits"] == met["centred"] == met["often"] == {False, True}

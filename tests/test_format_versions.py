"""Whatever is stored says in which version: another can be added beside it, and one that is not known is refused."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import golden_stores
import ormsgpack
import pytest
from conftest import or_skip
from golden_contents import MESSAGES
from stores import supabase_server

from charm_checkpoint import Memory, NewerFormat, SchemaMismatch, StoreCorrupt, open_memory
from charm_checkpoint.contract import Chunk
from charm_checkpoint.saver import pending_writes, records, task_writes, threads
from charm_checkpoint.stores.files import contents as log_contents
from charm_checkpoint.stores.files import log
from charm_checkpoint.stores.shared import names
from charm_checkpoint.testing.call_modes import CALL_MODES, CallMode, InMode
from charm_checkpoint.testing.samples import checkpoint, config
from charm_checkpoint.values import decoder, packing
from charm_checkpoint.values.encoder import LEAF, MANIFEST, EncodedValue, address
from charm_checkpoint.values.packing import pack
from charm_checkpoint.values.serde import Serializer, forms
from charm_checkpoint.values.serde import values as serde_values

SERDE = Serializer()
REFUSED = "which no version up to this one writes: a newer charm_checkpoint stored it .*pip install -U"


# ------------------------------------------------------------- another version beside the first


def chunk(kind: bytes, body: bytes, *refs: bytes) -> Chunk:
    return Chunk(address(kind, body, b"".join(refs)), b"".join(refs), pack(kind + body))


def value_of(*chunks: Chunk) -> Any:
    """Return the value that the last of some chunks stands for."""
    have = {one.address: decoder.decode_chunk(one) for one in chunks}
    return decoder.Decoder(SERDE, have).value(EncodedValue(None, chunks[-1].address))


BLOB, NEW_BLOB = chunk(b"\1", SERDE.dumps("a")), chunk(b"\7", SERDE.dumps("a"))
LEAVES = [chunk(kind, ormsgpack.packb([None, [], SERDE.dumps_many(["a"])])) for kind in (LEAF, b"\x08")]
TREES = [(leaf, chunk(MANIFEST, ormsgpack.packb([0, [1], []]), leaf.address)) for leaf in LEAVES]
RECORD, _ = records.encode_record(SERDE, "t", checkpoint(), {"a": 1}, {})
WRITES = task_writes.encode_writes(SERDE, [("a", 1)], "task", "", None)


def reads_record(body: bytes) -> Any:
    return records.decode_record(SERDE, "t", "c", body, b"").metadata


def reads_writes(body: bytes) -> Any:
    return pending_writes.decode_writes(SERDE.loads, [body])


def reads_frame(format: int) -> Any:
    contents = log_contents.Contents()
    contents.apply(log.Frame([log_contents.START, format, b"t", 0, 0, 0, 0, [], [None] * 3], 0, 0, b""))
    return contents.thread


def shouted(read: Callable[..., Any]) -> Callable[..., Any]:
    """Return a reader of another form, in which what is text is in capitals."""
    return lambda *args: read(*args).upper()


CASES: dict[str, tuple[Any, Any, Any, Callable[[Any], Any], Any, Any, Any]] = {
    # table, key, its reader; how to read; what the first version wrote, what another one did, what that is
    "packed": (packing.UNPACK, b"\x07", bytes.upper, packing.unpack, b"\0a", b"\x07a", b"A"),
    "value": (forms.VALUES, b"\x07", shouted(forms.read), SERDE.loads, b"\1\xa1a", b"\7\xa1a", "A"),
    "plain value": (
        forms.PLAIN_VALUES, b"\x07", shouted(forms.read), SERDE.loads_plain, b"\1\xa1a", b"\7\xa1a", "A",
    ),
    "run": (forms.RUNS, b"\x07", lambda reader, data: ["A"], SERDE.loads_many, b"\2\x91\xa1a", b"\7", ["A"]),
    "code": (
        serde_values.DECODERS, 99, lambda body, finder: body.upper(), SERDE.loads, b"\1\xa1a", b"\1\xd5\x63\xa1a", "A",
    ),
    "chunk": (
        decoder.WHOLE, b"\x07", shouted(decoder.Decoder._blob), lambda one: value_of(one), BLOB, NEW_BLOB, "A",
    ),
    "leaf": (
        decoder.LEAVES, b"\x08", lambda self, leaf, keys, values: values.append("A"), lambda tree: value_of(*tree),
        TREES[0], TREES[1], ["A"],
    ),
    "record": (
        records.FORMS, 0x90, lambda serde, place, payload, roots, outline: records.Record({}, {"a": 2}, {}, b""),
        reads_record, RECORD, pack(b"\x90rest"), {"a": 2},
    ),
    "writes": (
        pending_writes.FORMS, b"\x07", lambda load, payload: ("task", "", [(0, "a", 2)]), reads_writes, WRITES,
        pack(b"\7rest"), [("task", "a", 2)],
    ),
    "id": (names.IDS, b"x", bytes.hex, names.id_text, b"tid", b"x\xab", "ab"),
    "log": (
        log_contents.FORMATS, 9, lambda contents, *fields: setattr(contents, "thread", "T"), reads_frame, 2, 9, "T",
    ),
}  # fmt: skip


@pytest.fixture(autouse=True)
def nothing_remembered() -> Iterator[None]:
    names.id_text.cache_clear()
    yield
    names.id_text.cache_clear()


@pytest.mark.parametrize("name", CASES)
def test_another_version_stands_beside_the_first(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    table, key, reader, read, first, second, becomes = CASES[name]
    before = read(first)
    with pytest.raises(NewerFormat, match=REFUSED):
        read(second)
    monkeypatch.setitem(table, key, reader)
    assert (read(first), read(second)) == (before, becomes)


def test_what_is_refused_is_both_damage_and_a_mismatch() -> None:
    # So it hides no other thread, and whoever looks for either finds it.
    assert issubclass(NewerFormat, StoreCorrupt) and issubclass(NewerFormat, SchemaMismatch)


def test_a_container_a_longer_record_and_a_note_that_are_not_known() -> None:
    with pytest.raises(NewerFormat, match=REFUSED):
        value_of(chunk(MANIFEST, ormsgpack.packb([4, [0], []])))
    header = SERDE.dumps([4, "", {}, {}, {}, {}, {}, True, "owner"])
    with pytest.raises(NewerFormat, match=REFUSED):
        reads_record(pack(len(header).to_bytes(4, "big") + header))
    for status, read in ((3, (3, None, None)), (4, (None, None, None))):
        note = ormsgpack.packb([status, threads.mark("c")])
        assert threads._read(threads.ThreadRow("t", head="c", note=note)) == read


def test_kinds_that_are_known_but_out_of_place_are_damage() -> None:
    for wrong in (LEAVES[0], chunk(b"\5", b"")):
        with pytest.raises(StoreCorrupt, match="stands where a value should") as caught:
            value_of(wrong)
        assert not isinstance(caught.value, NewerFormat)


# ------------------------------------------------------------------------------ newer stores


@pytest.fixture(params=list(CALL_MODES))
def mode(request: pytest.FixtureRequest) -> Iterator[CallMode]:
    made = CALL_MODES[request.param]()
    yield made
    made.close()


def newer_sqlite(url: str, folder: Path) -> None:
    with closing(sqlite3.connect(folder / "agent.db")) as database:
        database.execute("PRAGMA user_version = 99")


def newer_postgres(url: str, folder: Path) -> None:
    import psycopg

    with psycopg.connect(url.partition("?")[0]) as connection:
        connection.execute("INSERT INTO golden.migration (version, name) VALUES (99, 'from tomorrow')")


def newer_supabase(url: str, folder: Path) -> None:
    newer_postgres(supabase_server().database, folder)


def newer_redis(url: str, folder: Path) -> None:
    from redis import Redis

    with Redis.from_url(url) as client:
        [key] = client.keys("*:version")
        client.hset(key, "version", 99)


def newer_files(url: str, folder: Path) -> None:
    for at in folder.glob(".charm/checkpoints/*/log"):
        frame, _ = log.encode(
            log.Entry([log_contents.START, 99, "what", {"a": "newer"}, "version", "has"]), 0, log.FIRST
        )
        at.write_bytes(frame)


def newer_marks(url: str, folder: Path) -> None:
    for at in folder.glob(".charm/checkpoints/*/log"):
        at.write_bytes(log.MARK[:-1] + b"M" + at.read_bytes()[4:200].replace(log.MARK, b"????"))


def newer_later_marks(url: str, folder: Path) -> None:
    for at in folder.glob(".charm/checkpoints/*/log"):
        first, *others = at.read_bytes().split(log.MARK)[1:]
        assert others or len(list(folder.glob(".charm/checkpoints/*/log"))) > 1
        at.write_bytes(log.MARK + b"".join([first, *(log.MARK[:-1] + b"M" + other for other in others)]))


NEWER = {
    "sqlite": newer_sqlite,
    "postgres": newer_postgres,
    "supabase": newer_supabase,
    "redis": newer_redis,
    "files": newer_files,
    "files, by their mark": newer_marks,
    "files, by a later mark": newer_later_marks,
}


@pytest.mark.parametrize("auto_setup", [True, False])
@pytest.mark.parametrize("store", NEWER)
def test_a_newer_store_is_refused_and_left_as_it_is(
    store: str, auto_setup: bool, tmp_path: Path, mode: CallMode
) -> None:
    is_files = store.startswith("files")
    url = or_skip(lambda: golden_stores.opened(store.partition(",")[0], tmp_path))
    NEWER[store](url, tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with open_memory(url, auto_setup=auto_setup) as memory:
        both = InMode(memory, mode)
        saver = InMode(memory.get_langgraph_checkpointer(), mode)
        calls: list[Callable[[], Any]] = [
            lambda: saver.get_tuple(config("chat")),
            lambda: saver.put(config("chat"), checkpoint(), {}, {}),
            lambda: saver.put_writes(config("chat", id="turn-4"), [("a", 1)], "task"),
            lambda: saver.delete_thread("chat"),
        ]
        if not is_files:  # there, a listing shows a thread that cannot be read, and messages are Charm's
            calls += [both.usage, both.threads, lambda: both.load_messages("chat"), both.setup]
        for call in calls:
            with pytest.raises(SchemaMismatch, match=r"[Uu]pgrade|install a newer"):
                call()
        if is_files:
            assert all(item.damage or item.has_messages for item in both.threads())
            assert both.load_messages("chat") == MESSAGES["chat"]
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


@pytest.fixture(params=["sqlite", "files"])
def memory(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Memory]:
    url = {"sqlite": f"sqlite:///{tmp_path}/a.db", "files": f"file://{tmp_path}"}[request.param]
    with open_memory(url) as opened:
        yield opened


def test_one_newer_record_is_named_and_hides_no_other(
    memory: Memory, mode: CallMode, monkeypatch: pytest.MonkeyPatch
) -> None:
    saver, both = InMode(memory.get_langgraph_checkpointer(), mode), InMode(memory, mode)
    saver.put(config("known"), checkpoint({"a": 1}, id="k"), {}, {"a": 1})
    with monkeypatch.context() as patch:
        patch.setattr(records, "pack_value", lambda payload, *_: pack(b"\x90" + payload))
        saver.put(config("newer"), checkpoint({"a": 1}, id="n"), {}, {"a": 1})
    with pytest.raises(NewerFormat, match=f"^Thread 'newer', checkpoint n: .*{REFUSED}"):
        saver.get_tuple(config("newer"))
    assert saver.get(config("known"))["channel_values"] == {"a": 1}
    assert {item.thread_id: item.checkpoints for item in both.threads()} == {"known": 1, "newer": 1}
    saver.prune(["newer", "known"])
    saver.delete_thread("newer")
    assert saver.get_tuple(config("newer")) is None

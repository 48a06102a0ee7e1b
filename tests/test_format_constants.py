"""No constant of the storage format can be altered unnoticed.

Golden stores no longer read back as what they hold then, or what is written is no longer what the format's page says.
The alteration is made in the source of a package that a process has not imported yet, so it reaches all that is made
of the constant. What stands here as no part of the format is so for the reason that is given with it.
"""

from __future__ import annotations

import importlib
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from struct import Struct

import pytest
from alterations import PACKAGE, Alteration, assigned, is_constant
from conftest import or_skip
from golden_stores import FOLDER, LATEST, SCHEMA, opened, rows
from stores import postgres_server, postgres_url
from workers import WorkerPool, child

from charm_checkpoint.errors import ServerFailed
from charm_checkpoint.stores.postgres_schema import schema

pytestmark = pytest.mark.skipif(os.name != "posix", reason="forks")

WRITERS = "says what a writer does; readers take it as it comes"
ELSEWHERE = "is not stored"

MODULES: dict[str, tuple[str, dict[str, str]]] = {
    # module: the store that it is tried on, and what in it is no part of the format, with the reason
    "contract_records": ("sqlite", {}),
    "values.packing": ("sqlite", {"MAGIC": "is zstd's", "_HEADER": "is zstd's", "_LONG": "is zstd's"}),
    "values.sealing": (
        "sqlite",
        {"NO_MARK": "is for stores of others", **dict.fromkeys(("_RECENT", "_MOVED", "_DAMAGED"), ELSEWHERE)},
    ),
    "values.encoder": (
        "sqlite",
        dict.fromkeys(("INLINE", "WHOLE", "TINY", "NESTED", "PIECE", "SMALL_TEXT", "MANIFOLD", "UNASKED"), WRITERS),
    ),
    "values.serde.forms": ("sqlite", {}),
    "values.serde.stored_names": (
        "sqlite",
        dict.fromkeys(("_WHOLE", "_FIELD", "MOST_FIELDS"), "where a reader has others, it compares the types"),
    ),
    "values.codes": ("sqlite", {"AS_IS": ELSEWHERE, "ITEMS": "tells the paths of errors"}),
    "values.serde.values": ("sqlite", {}),
    "values.serde.classes": ("sqlite", {"KEPT": "is tried in tests/changes", "_UNSTORED": WRITERS}),
    "values.serde.class_shapes": (
        "sqlite",
        {"_LEVELS": "no type in the golden stores is so deep", "NOWHERE": ELSEWHERE, "TAKEN": ELSEWHERE},
    ),
    "saver.records": (
        "sqlite",
        {
            "FIRST": "is tried in test_format_versions",
            "_PARTS": "names parts in errors",
            "_FIELDS": "is LangGraph's",
            "_SET_APART": "is LangGraph's",
            "OTHER_SHAPE": ELSEWHERE,
            "_HEADER": "says from where on elements are counted",
            "NOT_TAGGED": WRITERS,
        },
    ),
    "saver.pending_writes": ("sqlite", {"_WRITES_SHAPE": ELSEWHERE}),
    "saver.threads": (
        "sqlite",
        {
            **dict.fromkeys(("PAGE", "FURTHER", "_NEVER", "_NO_ID"), ELSEWHERE),
            **dict.fromkeys(("COPYING", "IMPORTING"), "is of threads that are not whole yet, and stay for no other"),
        },
    ),
    "saver.notes": (
        "sqlite",
        {
            **dict.fromkeys(("TITLE", "_STEPS", "_LOOKED_AT", "_HUMAN"), WRITERS),
            **dict.fromkeys(("_MESSAGES", "_BRANCH"), "is LangGraph's"),
        },
    ),
    "saver.tags": ("sqlite", {"NESTED_ENTRIES": WRITERS, "_LONG": WRITERS}),
    "stores.shared.names": ("sqlite", {"RECENT": ELSEWHERE, "_SHOWN": ELSEWHERE}),
    "stores.sqlite.schema": ("sqlite", {}),
    "stores.files.store": ("files", {}),
    "stores.files.log": ("files", {"HEADER_SIZE": "is that of _HEADER"}),
    "stores.files.space": (
        "files",
        {
            **dict.fromkeys(("ITEM", "KEY", "ROW", "GAP", "READ"), ELSEWHERE),
            "BATCH_BYTES": WRITERS,
        },
    ),
    "stores.files.contents": ("files", {"ROW": ELSEWHERE, "THING": ELSEWHERE, "BATCH_BYTES": WRITERS}),
    "stores.files.thread": (
        "files",
        {"NEW": "is there for a moment only", "FOLDER": ELSEWHERE},
    ),
    "stores.files.erased": ("files", {"_NEW": "is there for a moment only"}),
    "stores.files.messages": (
        "files",
        dict.fromkeys(("_PLAIN", "_DEVICES", "_UNSAFE", "_NAME_BYTES"), WRITERS),
    ),
    "stores.redis.rows": (
        "redis",
        {
            "LARGEST": ELSEWHERE,
            "LISTS": "is tried by its text",
            "PINNED": "is written by a script",
        },
    ),
    "stores.redis.slots": (
        "redis",
        {
            "SLOTS": "is Redis'",
            **dict.fromkeys(("_PAIRS", "_FIRST", "_SECOND"), "is made of the letters"),
        },
    ),
    "stores.redis.item_rows": (
        "redis",
        dict.fromkeys(
            ("STATE", "ROWS", "STAMPS", "ENTRIES", "VECTORS", "VALUES", "ORDER", "ENDS", "DONE", "INTENT"), ELSEWHERE
        ),
    ),
    "items.namespaces": (
        "sqlite",
        {
            "INDEXES": "is of kept indexes, which may be lost",
            "UPKEEP": "is of notes of upkeep, which may be lost",
            "OWN": "is made of the others",
        },
    ),
    "items.values": (
        "sqlite",
        {"VALUE_LIMIT": WRITERS, "_LONG": WRITERS, "_NOT_OPENED": ELSEWHERE, "_NOT_JSON": ELSEWHERE},
    ),
    "items.ranking.entries": ("sqlite", {"MOST_COUNTED": WRITERS, "_ALL_FLAGS": "is made of the flags"}),
    "items.ranking.models": ("sqlite", {"_HEAD": "is little-endian, and on the page: see test_format"}),
    "stores.postgres_schema.removing": ("postgres", dict.fromkeys(("CHUNKS_STAY", "REMOVED", "ATTEMPTS"), ELSEWHERE)),
    "stores.postgres_schema.schema": (
        "postgres",
        {
            **dict.fromkeys(
                ("OLDEST", "TABLES", "PINNED", "_NAME", "_ALONE", "_TABLE", "_RIGHTS", "_FUNCTIONS"), ELSEWHERE
            ),
            "SCHEMA": "is on the page: see test_format",
        },
    ),
}  # fmt: skip
"""Modules that have the format's constants. Those with none: how values are cut (elements, leaves, pieces) is for the
writer to choose, and statements in SQL and scripts in Lua are tried by their text, below."""


def constants() -> Iterator[tuple[str, str, str]]:
    """Yield store, module and name of every constant that is of the format."""
    for place, (store, others) in MODULES.items():
        module = importlib.import_module(PACKAGE + place)
        assert module.__file__ is not None
        for name in assigned(Path(module.__file__).read_text("utf-8")):
            if name not in others and is_constant(getattr(module, name)) and name != "__all__":
                yield store, place, name


FIELDS = "dwqbtaispnNyorYOflP"
"""Letters that fields of Redis' hashes begin with. The others tell of calls that are made again, and of runs."""

TEXTS = {
    "sqlite": [
        Alteration("values.serde.known_classes", "SHORT_NAMES"),
        Alteration("values.packing", "", "FORMAT_ZSTD1_MAGICLESS", "FORMAT_ZSTD1"),
        Alteration("values.packing", "", "DICT_TYPE_RAWCONTENT", "DICT_TYPE_FULLDICT"),
        Alteration("values.encoder", "", 'len(refs).to_bytes(4, "big")', 'len(refs).to_bytes(3, "big")'),
        Alteration("values.encoder", "", "digest.update(refs)", "digest.update(refs[::-1])"),
        Alteration("values.encoder", "", "blake2b(kind, ", "blake2b(kind + kind, "),
        Alteration("values.serde.values", "", r'SafeUUID.safe: b"\x01"', r'SafeUUID.safe: b"\x03"'),
        Alteration("values.serde.class_shapes", "", "digest_size=4", "digest_size=5"),
        Alteration("values.serde.stored_names", "", '"@(?=.)', '"%(?=.)'),
        Alteration("values.serde.enums", "", '"|"', '"/"'),
        Alteration("values.serde.classes", "", 'f"{cls.__module__}:{', 'f"{cls.__module__}/{'),
        Alteration("values.serde.classes", "", "[{','.join(", "[{';'.join("),
        Alteration("values.serde.classes", "", "f\"builtins:{", "f\"builtin:{"),
        Alteration("saver.records", "", 'len(header).to_bytes(4, "big")', 'len(header).to_bytes(3, "big")'),
        Alteration("saver.records", "", "4 + int.from_bytes(payload[:4]", "3 + int.from_bytes(payload[:3]"),
        Alteration("saver.threads", "", "crc32(id.", 'crc32(b"x" + id.'),
        Alteration("saver.tags", "", 'f"{len(key)}:{key}{text}"', 'f"{key}{text}"'),
        Alteration("stores.shared.names", "", 'len(tenant).to_bytes(4, "big")', 'len(tenant).to_bytes(3, "big")'),
        Alteration("stores.shared.names", "", "bytes((kind,))", "bytes((kind + 1,))"),
        Alteration("stores.sqlite.reads", "", "c.key = s.head", "c.key = s.key"),
        Alteration("stores.sqlite.schema", "", "        4,\n", "        5,\n"),
        Alteration("stores.sqlite.steps", "", "digest_size=16", "digest_size=15"),
    ],
    "files": [
        Alteration("stores.files.log", "", "digest_size=8", "digest_size=7"),
        Alteration("stores.files.contents", "", "2: Contents._second_format", "3: Contents._second_format"),
        Alteration("stores.files.messages", "", '"{start}~{', '"{start}-{'),
        Alteration("stores.files.messages", "", "digest_size=16", "digest_size=15"),
        Alteration("stores.files.erased", "", "kind, until, deletes, sweeps,", "kind, until, sweeps, deletes,"),
    ],
    "redis": [
        Alteration("stores.redis.rows", "", 'len(part).to_bytes(3, "big")', 'len(part).to_bytes(4, "big")'),
        Alteration("stores.redis.rows", "", "start = at + 3", "start = at + 4"),
        Alteration("stores.redis.rows", "", '.rstrip(b"=")', ""),
        Alteration("stores.redis.rows", "", "LISTS = 16", "LISTS = 8"),
        Alteration("stores.redis.layout", "", "VERSION = 3", "VERSION = 1"),
        Alteration("stores.redis.rows", "", "key=self.secret or", "key=b'' or"),
        Alteration(".lua", "", "'mr'", "'mr!'"),
        Alteration(".lua", "", "kind .. 'd'", "kind .. 'D'"),
        Alteration("stores.redis.item_rows", "", 'len(self._tenant).to_bytes(4, "big")', 'b""'),
        Alteration("stores.redis.item_rows", "", 'row.split(b" ", 4)', 'row.split(b",", 4)'),
        Alteration(".lua", "", "ADDRESS = 16", "ADDRESS = 15"),
        Alteration(".lua", "", "TOKEN = 8", "TOKEN = 7"),
        Alteration(".lua", "", r"WAITING = '\2'", r"WAITING = '\3'"),
        *(Alteration(".lua", "", f"'{letter}'", f"'{letter}!'") for letter in FIELDS),
    ],
    "script": [
        Alteration(".sql", "", "1684366704", "1684366705"),
        Alteration(".sql", "", "sha256(s.secret || p_identity)", "sha256(p_identity || s.secret)"),
        Alteration(".sql", "", "kind smallint", "sort smallint"),
    ],
}  # fmt: skip
"""What stands in the midst of code, and is of the format. ``script``: Postgres' functions as they are made today, over
the rows of the golden store."""


def from_script(change: Alteration | None) -> str:
    """Return the URL of a database that the package's script, with something altered, made for the golden rows."""
    text = schema.script(SCHEMA)
    assert change is None or change.old in text
    url = or_skip(postgres_url)
    made = text if change is None else text.replace(change.old, change.new)
    postgres_server().execute(made + rows(FOLDER / LATEST), url.rpartition("/")[2])
    return f"{url}?schema={SCHEMA}"


@pytest.fixture(scope="module")
def starter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WorkerPool]:
    """Return what starts readers."""
    with child("altered.py", stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        yield WorkerPool(process, tmp_path_factory.mktemp("readers"))
        assert process.stdin is not None
        process.stdin.close()
        process.wait(30)


Read = Callable[[str, "Alteration | None"], list[str]]


@pytest.fixture(scope="module")
def read(starter: WorkerPool, tmp_path_factory: pytest.TempPathFactory) -> Read:
    """Return what reads a golden store with something altered, and what the store says then."""
    # A new one each time: what is altered may lead to things being tidied away.

    def read(store: str, change: Alteration | None) -> list[str]:
        if store == "script":
            url, change = from_script(change), None
        else:
            url = or_skip(lambda: opened(store, tmp_path_factory.mktemp(store)))
        worker = starter.start("read", change, url)
        assert worker.wait() == 0
        return worker.acks

    return read


@pytest.fixture(scope="module")
def as_it_is(read: Read) -> Callable[[str], list[str]]:
    """Return what tells of a golden store what is read with nothing altered."""
    known: dict[str, list[str]] = {}

    def get(store: str) -> list[str]:
        if store not in known:
            known[store] = read(store, None)
        assert known[store][0].startswith("Usage("), known[store]
        return known[store]

    return get


ALTERED = [(store, change) for store, changes in TEXTS.items() for change in changes]


@pytest.mark.parametrize(("store", "change"), ALTERED, ids=lambda one: getattr(one, "old", one) or "SHORT_NAMES")
def test_a_text(store: str, change: Alteration, read: Read, as_it_is: Callable[[str], list[str]]) -> None:
    expected = as_it_is(store)
    try:
        found = read(store, change)
    except ServerFailed:  # the rows do not fit into the tables
        assert store == "script"
    else:
        assert found != expected


@pytest.mark.parametrize(("store", "place", "name"), [*constants()])
def test_a_constant(store: str, place: str, name: str, read: Read, as_it_is: Callable[[str], list[str]]) -> None:
    found = read(store, Alteration(place, name))
    assert found != as_it_is(store)


def test_what_is_no_part_of_the_format_is_there() -> None:
    for place, (_, others) in MODULES.items():
        module = importlib.import_module(PACKAGE + place)
        for name in others:
            assert hasattr(module, name), f"{place}.{name}"


OTHERS = {
    "values.serde.columns": "has the entry for kept fields that classes names",
    "values.decoder": "is of values.encoder",
    "values.limits": "says what is refused, and is tried in tests/attacks",
    "values.pieces": "cuts pieces",
    "stores.redis.connect_errors": "is what other servers answer",
    "stores.postgres.wire": "is Postgres' protocol",
    "items.bounded": "is of what may be lost: another form counts as missing",
    "items.embedding.embedding": "is of kept vectors, which may be lost",
    "items.embedding.vector_cache": "is of kept vectors, which may be lost",
    "items.ranking.kept": "is of kept indexes, which may be lost",
    "items.store.kept_indexes": "is of kept indexes, which may be lost",
}
"""Modules with constants of bytes that are no part of the format."""


def test_no_module_with_constants_of_bytes_is_forgotten() -> None:
    import charm_checkpoint

    root = Path(charm_checkpoint.__path__[0])
    for part in ("values", "saver", "messages", "items", "stores", "runtime", "importers"):
        for file in (root / part).rglob("*.py"):
            place = ".".join(file.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
            if place in MODULES or place in OTHERS:
                continue
            module = importlib.import_module(PACKAGE + place)
            found = [name for name in assigned(file.read_text("utf-8")) if holds_bytes(getattr(module, name, None))]
            assert not found, f"{place}: {', '.join(found)}"


def holds_bytes(value: object) -> bool:
    """Tell whether a constant is bytes, though no statement's, or a shape of them."""
    if isinstance(value, (tuple, frozenset)):
        return any(map(holds_bytes, value))
    return isinstance(value, Struct) or (isinstance(value, bytes) and len(value) <= 16)

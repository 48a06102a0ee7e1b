"""A reader of stored bytes that was written from docs/format.md alone: it shares no code with the package.

It does not build values of threads. It follows a store's bytes to the last, notes which forms it met, and fails at what
the page does not tell of. Items it reads: their values are JSON.
"""

from __future__ import annotations

import json
import sqlite3
import struct
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from contextlib import closing
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID
from zlib import crc32

import ormsgpack
import zstandard

RAW_BODIES = {6, 7, 8, 16, 17, 30}
"""Extension codes whose bodies the page calls bytes."""


class ReadItem(NamedTuple):
    """An item as the page tells of it."""

    namespace: tuple[str, ...]
    key: str
    value: Any
    index: Any
    created: int
    updated: int
    ttl: int | None
    expires: int | None
    words: dict[str, int]
    vectors: int


class Ext(NamedTuple):
    """An extension value."""

    code: int
    data: bytes


class Reader:
    """Reads stored bytes; ``met`` are the forms that were there, as pairs of what and which."""

    def __init__(self, dictionary: bytes = b"") -> None:
        self.met: set[tuple[str, Any]] = set()
        self.items: list[ReadItem] = []
        words = zstandard.ZstdCompressionDict(dictionary, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
        self._zstd = zstandard.ZstdDecompressor(words, format=zstandard.FORMAT_ZSTD1_MAGICLESS)

    def unpacked(self, data: bytes) -> bytes:
        """Undo packing."""
        self.met.add(("packed", data[0]))
        return {0: lambda rest: rest, 1: self._zstd.decompress}[data[0]](data[1:])

    def opened(self, data: bytes, tenant: bytes, kind: int, name: bytes, about: list[Any]) -> bytes:
        """Check the seal of what is stored, and return what is behind it; versions before 0.3 had none."""
        if data[0] != 3:
            return data
        self.met.add(("sealed", about[0]))
        counted = len(tenant).to_bytes(4, "big") + tenant + bytes((kind,)) + name
        assert data[1:9] == blake2b(counted, digest_size=16).digest()[:8]
        assert data[9:13] == crc32(ormsgpack.packb(about) + data[13:]).to_bytes(4, "big")
        return data[13:]

    # ------------------------------------------------------------------------ values

    def value(self, data: bytes) -> Any:
        """Read a value, and return its MessagePack tree."""
        assert data[0] == 1
        return self._tree(data[1:])

    def run(self, data: bytes) -> int:
        """Read a run, and return how many values it has."""
        self.met.add(("run", data[0]))
        tree = self._tree(data[1:])
        if data[0] == 2:
            return len(tree)
        assert data[0] == 3 and len(tree) in (3, 5)
        shapes, index, *columns = tree
        for name, names in shapes:
            self.met.add(("class", name))
            assert all(type(each) is str for each in names)
        assert set(index) == set(range(len(shapes))) and {len(column) for column in columns} == {len(index)}
        return len(index)

    def _tree(self, data: bytes) -> Any:
        tree = ormsgpack.unpackb(data, ext_hook=Ext)
        todo = [tree]
        while todo:
            found = todo.pop()
            if isinstance(found, Ext):
                self._extension(found)
            elif isinstance(found, dict):
                todo += found.values()
            elif isinstance(found, list):
                todo += found
        return tree

    def _extension(self, found: Ext) -> None:
        self.met.add(("code", found.code))
        if found.code in RAW_BODIES:
            return
        body = self._tree(found.data)
        if found.code >= 40:
            self.met.add(("class", body[0]))

    # ------------------------------------------------------------------------ chunks

    def chunk(self, address: bytes, refs: bytes, data: bytes) -> tuple[int, bytes]:
        """Unpack a chunk, check its address, and return its kind and body."""
        payload = self.unpacked(data)
        counted = payload[:1] + len(refs).to_bytes(4, "big") + refs + payload[1:]
        assert blake2b(counted, digest_size=16).digest() == address
        self.met.add(("kind", payload[0]))
        return payload[0], payload[1:]

    def reached(self, address: bytes, chunks: dict[bytes, tuple[bytes, bytes]]) -> int:
        """Read a value in chunks, and return how many elements it has, 1 if it is none of elements."""
        refs, data = chunks[address]
        kind, body = self.chunk(address, refs, data)
        if kind == 1:
            self.value(body)
        elif kind == 2:
            first, *others = [piece for ref in split(refs) for piece in self._under(ref, 3, chunks)]
            self.value(b"".join((first[1], *(piece for _, piece in others))))
        else:
            assert kind == 6
            return self._manifest(body, split(refs), chunks)
        return 1

    def _manifest(self, body: bytes, refs: list[bytes], chunks: dict[bytes, tuple[bytes, bytes]]) -> int:
        container, levels, tail = ormsgpack.unpackb(body)
        self.met |= {("container", container), ("levels", len(levels))}
        is_dict = container in (1, 3)
        sealed = sum(levels)
        count = 0
        for ref in refs[:sealed]:
            for inner, leaf in self._under(ref, 4, chunks):
                keys, large, run = ormsgpack.unpackb(leaf)
                assert is_dict == (keys is not None) and len(large) == len(inner)
                for each in inner:
                    self.reached(each, chunks)
                elements = self.run(run) + len(large)
                assert keys is None or self.run(keys) == elements
                count += elements
        items = tail[1::2] if is_dict else tail
        for item in [*items, *(tail[::2] if is_dict else ())]:
            if item is not None:
                self.value(item)
        assert items.count(None) == len(refs) - sealed
        for ref in refs[sealed:]:
            self.reached(ref, chunks)
        return count + len(items)

    def _under(self, name: bytes, wanted: int, chunks: Any) -> Iterator[tuple[list[bytes], bytes]]:
        refs, data = chunks[name]
        kind, body = self.chunk(name, refs, data)
        if kind == 5:
            for ref in split(refs):
                yield from self._under(ref, wanted, chunks)
        else:
            assert kind == wanted
            yield split(refs), body

    # ----------------------------------------------------------------------- records

    def record(self, body: bytes, roots: bytes) -> dict[str, Any]:
        """Read a checkpoint's body, and return its channels."""
        payload = self.unpacked(body)
        size = int.from_bytes(payload[:4], "big")
        assert size < 1 << 31
        *_, channels = header = self.value(payload[4 : 4 + size])
        self.met.add(("header", len(header)))
        if len(header) == 8:
            channels = header[6]
        if isinstance(channels, Ext):  # names that UTF-8 does not have
            assert channels.code == 5
            pairs = ormsgpack.unpackb(channels.data, ext_hook=Ext)
            channels = dict(zip(pairs[::2], pairs[1::2], strict=True))
        inline = [name for name, at in channels.items() if at is None]
        self.met |= {("place", type(at).__name__) for at in channels.values()}
        if inline:
            assert len(self.value(payload[4 + size :])) == len(inline)
        assert {at for at in channels.values() if type(at) is int} == set(range(len(split(roots))))
        return dict(channels)

    def writes(self, body: bytes) -> None:
        """Read a task's pending writes."""
        task, path, items = self.value(self.unpacked(body))
        assert type(task) is type(path) is str
        for number, channel, _ in items:
            assert type(channel) is str
            self.met.add(("write", number if number < 0 else 0))

    def note(self, note: bytes | None, size: int) -> None:
        """Read a note of so many elements."""
        if note is not None:
            held = ormsgpack.unpackb(note)
            assert len(held) == size
            self.met.add(("status", held[0]))

    # ------------------------------------------------------------------------- items

    def item(
        self, path: bytes, key: bytes, value: bytes, entry: bytes, vectors: bytes, *times: Any, tenant: bytes = b""
    ) -> None:
        """Read an item; what is not in a namespace of items is noted only."""
        self.met.add(("realm", path[:1]))
        if path[:1] != b"i":
            assert path[:1] in (b"c", b"e")
            return
        *labels, end = path[1:].split(b"\0")
        assert end == b"" and labels
        words, count = self._entry(entry, vectors)
        value = self.opened(value, tenant, 2, path, ["item", key])
        self.items.append(ReadItem(tuple(map(text, labels)), text(key), *self._item_value(value), *times, words, count))

    def _item_value(self, data: bytes) -> tuple[Any, Any]:
        self.met.add(("item", data[0]))
        held = json.loads(text(data[1:])) if data[0] == 1 else None
        if data[0] == 1:
            return held, None
        assert data[0] == 2
        about, held = json.loads(text(data[1:]))
        assert about.keys() <= {"index", "big"}
        self.met |= {("about", name) for name in about}
        return unescaped(held) if about.get("big") else held, about.get("index")

    def _entry(self, entry: bytes, vectors: bytes) -> tuple[dict[str, int], int]:
        """Read an entry and its vectors; return the words and how many vectors there are."""
        if not entry:
            assert not vectors
            return {}, 0
        assert entry[0] == 1 and entry[1] < 4
        self.met |= {("entry", entry[0]), ("waits", bool(entry[1] & 1)), ("centred", bool(entry[1] & 2))}
        count, at = varint(entry, 2)
        if count:
            dims, codes = varint(entry, at + 8)
            assert len(vectors) == count * dims * 2
            for number in range(count):
                row = struct.unpack_from(f"<{dims}e", vectors, number * dims * 2)
                assert abs(sum(each * each for each in row) - 1) < 0.01
            at = codes + count * -(-dims // 8)
        size, at = varint(entry, at)
        assert at + size == len(entry)
        once, *lines = text(entry[at:]).split("\n")
        words = dict.fromkeys(once.split(" "), 1) if once else {}
        for line in lines:
            often, *found = line.split(" ")
            words |= dict.fromkeys(found, int(often))
        self.met |= {("often", often > 1) for often in words.values()}
        return words, count

    def id(self, id: bytes | None) -> None:
        """Read an id."""
        if id is not None:
            self.met.add(("id", id[:1]))
            assert len(id) == 17 if id[:1] == b"u" else id[:1] == b"t"


def id_bytes(id: bytes | None) -> bytes | None:
    """Return an id as a seal has it."""
    return str(UUID(bytes=id[1:])).encode() if id and id[:1] == b"u" else id and id[1:]


def text(data: bytes) -> str:
    """Read text of an item: in UTF-8, halves of pairs as characters."""
    return data.decode("utf-8", "surrogatepass")


def unescaped(value: Any) -> Any:
    """Read a value of which integers stand in objects, and keys that begin with NUL have one more of them."""
    if isinstance(value, list):
        return [unescaped(each) for each in value]
    if not isinstance(value, dict):
        return value
    if list(value) == ["\0"]:
        assert value["\0"].lstrip("-").startswith("0x")
        return int(value["\0"], 16)
    return {key[1:] if key.startswith("\0") else key: unescaped(each) for key, each in value.items()}


def varint(data: bytes, at: int) -> tuple[int, int]:
    """Read a count; return it and where it ends."""
    groups = []
    while data[at] & 0x80:
        groups.append(data[at] & 0x7F)
        at += 1
    groups.append(data[at])
    return sum(group << 7 * place for place, group in enumerate(groups)), at + 1


def split(refs: bytes) -> list[bytes]:
    """Cut addresses that stand end to end."""
    assert len(refs) % 16 == 0
    return [refs[at : at + 16] for at in range(0, len(refs), 16)]


def read_sqlite(file: Path, dictionary: bytes) -> Reader:
    """Read all that a SQLite file holds."""
    reader = Reader(dictionary)
    with closing(sqlite3.connect(file)) as database:
        chunks: dict[int, dict[bytes, tuple[bytes, bytes]]] = {}
        for thread, address, refs, data in database.execute("SELECT thread, address, refs, data FROM chunk"):
            chunks.setdefault(thread, {})[address] = refs, data
        rows = database.execute(
            "SELECT s.thread, c.id, c.parent, c.conflict, c.tags, c.roots, c.body, t.tenant, t.name, s.ns"
            " FROM checkpoint c JOIN space s ON s.key = c.space JOIN thread t ON t.key = s.thread"
        )
        for thread, id, parent, conflict, tags, roots, body, tenant, name, ns in rows:
            for each in (id, parent, conflict):
                reader.id(each)
            reader.met.add(("tags", tags[:4] == b"deep"))
            about = ["checkpoint", ns, id_bytes(id), id_bytes(parent), roots]
            reader.record(reader.opened(body, tenant, 0, name, about), roots)
            for root in split(roots):
                reader.reached(root, chunks[thread])
        rows = database.execute(
            "SELECT w.body, w.id, s.ns, t.tenant, t.name FROM write w JOIN space s ON s.key = w.space"
            " JOIN thread t ON t.key = s.thread"
        )
        for body, id, ns, tenant, name in rows:
            reader.writes(reader.opened(body, tenant, 0, name, ["writes", ns, id_bytes(id)]))
        for note, writes_note in database.execute("SELECT note, writes_note FROM thread"):
            reader.note(note, 4)
            reader.note(writes_note, 2)
        rows = database.execute(
            "SELECT l.thread, l.roots, l.body, t.tenant, t.name FROM message_list l JOIN thread t ON t.key = l.thread"
            " WHERE body NOTNULL"
        )
        for thread, roots, body, tenant, name in rows:
            reader.met.add(("list", bool(roots)))
            body = reader.opened(body, tenant, 1, name, ["messages", roots])
            _ = reader.reached(roots, chunks[thread]) if roots else reader.value(reader.unpacked(body))
        rows = database.execute(
            "SELECT b.body, t.tenant, t.name FROM message_batch b JOIN thread t ON t.key = b.thread"
        )
        for body, tenant, name in rows:
            body = reader.opened(body, tenant, 1, name, ["batch"])
            assert isinstance(reader.value(reader.unpacked(body)), list)
            reader.met.add(("batch", body[0]))
        read_sqlite_items(reader, database)
    return reader


def read_sqlite_items(reader: Reader, database: sqlite3.Connection) -> None:
    """Read the items that a SQLite file holds."""
    rows = database.execute(
        "SELECT s.path, i.name, v.value, i.entry, IFNULL(x.vectors, x''), IFNULL(i.created, i.updated), i.updated,"
        " i.ttl, i.expires, i.touched, s.stamp, s.removed, s.tenant FROM item i JOIN item_space s ON s.key = i.space"
        " JOIN item_value v ON v.item = i.key LEFT JOIN item_vectors x ON x.item = i.key"
    )
    for *item, touched, stamp, removed, tenant in rows:
        reader.item(*item, tenant=tenant)
        assert max(touched or item[6], removed) <= stamp
        reader.met |= {("touched", touched is not None), ("removed", removed == stamp)}


MARK = bytes.fromhex("89434b4c")


def read_item_log(reader: Reader, log: bytes) -> None:
    """Read the log of a space of items in local files."""
    before, at, path, held = bytes(8), 0, b"", dict[bytes, tuple[Any, ...]]()
    while at < len(log):
        assert log[at : at + 4] == MARK and log[at + 16 : at + 24] == before
        size, head_size = int.from_bytes(log[at + 4 : at + 12], "big"), int.from_bytes(log[at + 12 : at + 16], "big")
        digest, payload = log[at + 24 : at + 32], log[at + 32 : at + 32 + size]
        counted = log[at : at + 24] + bytes(8) + payload
        assert blake2b(counted, digest_size=8).digest() == digest and len(payload) == size
        kind, *head = ormsgpack.unpackb(payload[:head_size])
        reader.met.add(("frame", kind))
        if kind == 6:
            assert at == 0 and payload[head_size:] == b"\xff"
            _, path, *_ = head
        else:
            assert kind == 7
            apply_rows(reader, held, head, payload[head_size:])
        before, at = digest, at + 32 + size
    for key, (times, value, entry, vectors) in held.items():
        reader.item(path, key, value, entry, vectors, *times)


def apply_rows(reader: Reader, held: dict[bytes, tuple[Any, ...]], head: list[Any], blobs: bytes) -> None:
    """Do to items what a batch did."""
    _, base, rows = head
    at = 0
    for key, stamp, *rest in rows:
        reader.met.add(("row", len(rest)))
        if not rest:
            del held[key]
        elif len(rest) == 1:
            (created, updated, ttl, _), *blobs_of = held[key]
            held[key] = ((created, updated, ttl, updated + rest[0]), *blobs_of)
        else:
            updated, created, ttl, expires, _, *sizes = rest
            updated += base + stamp
            ends = None if expires is None else updated + expires
            parts = []
            for size in sizes:
                parts.append(blobs[at : at + size])
                at += size
            held[key] = ((updated + created, updated, ttl, ends), *parts)
    assert blobs[at:] == b"\xff"


def read_files(folder: Path) -> Reader:
    """Read the items of a folder of local files."""
    reader = Reader()
    for log in folder.glob(".charm/items/*/log"):
        read_item_log(reader, log.read_bytes())
    return reader


def read_redis(commands: list[list[bytes]]) -> Reader:
    """Read the items of Redis, from the commands that make its keys."""
    reader = Reader()
    keys = {key: dict(zip(rest[::2], rest[1::2], strict=True)) for kind, key, *rest in commands if kind == b"HSET"}
    [[paths, *members]] = [[key, *rest] for kind, key, *rest in commands if kind == b"ZADD" and key.endswith(b":paths")]
    assert paths == b"charm:{spaces-}:paths"
    for path in members[1::2]:
        tag = urlsafe_b64encode(blake2b(bytes(4) + b"\2" + path, digest_size=16).digest()).rstrip(b"=")
        rows, values, entries, vectors = (
            keys.get(b"charm:{%b}:item-%b" % (tag, part), {}) for part in (b"rows", b"values", b"entries", b"vectors")
        )
        assert values.keys() == rows.keys() >= entries.keys() >= vectors.keys()
        for key, row in rows.items():
            times = [int(number) if number else None for number in row.split(b" ", 4)[:4]]
            reader.item(path, key, values[key], entries.get(key, b""), vectors.get(key, b""), *times)
    return reader

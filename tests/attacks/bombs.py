"""Few stored bytes that stand for very many; and a process of its own to try them in, so that none can harm this one.

As a program, it reads each bomb of a group within bounds of memory and time, and prints what came of it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import ormsgpack

from charm_checkpoint import Memory, open_memory
from charm_checkpoint.contract import Chunk, NewCheckpoint, NewMessages, NewWrites
from charm_checkpoint.errors import CharmError
from charm_checkpoint.saver.records import encode_record
from charm_checkpoint.testing.samples import checkpoint, config
from charm_checkpoint.values.encoder import BLOB, GROUP, LEAF, MANIFEST, PIECES, RAW, EncodedValue, address
from charm_checkpoint.values.packing import pack
from charm_checkpoint.values.serde import Serializer

ROOM = 1 << 30
"""Bytes that a reader may need beyond what it has: most bombs would take far more."""
SECONDS = 5
"""How long one bomb may take to be refused on a machine that has other things to do; most take no millisecond."""

SERDE = Serializer(on_unknown="raise")


class Bomb:
    """Chunks that name each other; ``root`` is the address of the last one made."""

    def __init__(self) -> None:
        self.chunks: list[Chunk] = []
        self.root = b""

    def chunk(self, kind: bytes, body: bytes, refs: Sequence[bytes] = ()) -> bytes:
        """Make a chunk, and return its address."""
        self.root = address(kind, body, b"".join(refs))
        self.chunks.append(Chunk(self.root, b"".join(refs), pack(kind + body)))
        return self.root

    def manifest(self, leaves: Sequence[bytes], tail: Sequence[bytes] = ()) -> bytes:
        """Make a list of leaves, and of elements behind them."""
        return self.chunk(MANIFEST, ormsgpack.packb([0, [len(leaves)], [None] * len(tail)]), [*leaves, *tail])

    def leaf(self, run: bytes) -> bytes:
        """Make a leaf of a run that is encoded already."""
        return self.chunk(LEAF, ormsgpack.packb([None, [], run]))

    @property
    def size(self) -> int:
        """Return how many bytes are stored."""
        return sum(len(chunk.data) + len(chunk.refs) + len(chunk.address) for chunk in self.chunks)


def array(element: bytes, count: int) -> bytes:
    """Return the encoded run of a list that is the same element over and over."""
    return b"\x02\xdd" + count.to_bytes(4, "big") + element * count


def lists(levels: int = 40) -> Bomb:
    """Return lists of twice the same list, and so on: 2 to the power of the levels."""
    bomb = Bomb()
    bomb.chunk(BLOB, b"\x01\xa4boom")
    for _ in range(levels):
        bomb.manifest([], [bomb.root, bomb.root])
    return bomb


def groups(levels: int = 8) -> Bomb:
    """Return groups of 60 times the same group: they hold no byte themselves."""
    bomb = Bomb()
    bomb.leaf(array(b"\xa4boom", 8))
    for _ in range(levels):
        bomb.chunk(GROUP, b"", [bomb.root] * 60)
    bomb.manifest([bomb.root])
    return bomb


def empty_groups() -> Bomb:
    """Return groups of the same groups, and at their end a leaf in which nothing is."""
    bomb = Bomb()
    bomb.leaf(array(b"", 0))
    for _ in range(8):
        bomb.chunk(GROUP, b"", [bomb.root] * 60)
    bomb.manifest([bomb.root])
    return bomb


def pieces() -> Bomb:
    """Return 64 kB that name the same piece over and over: 4 GB of text."""
    bomb = Bomb()
    bomb.chunk(RAW, b"x" * (1 << 18))
    bomb.chunk(GROUP, b"", [bomb.root] * 128)
    again = [bomb.root] * 128
    bomb.chunk(PIECES, b"", [bomb.chunk(RAW, b"\x01\xdb\xff\xff\xff\xff"), *again])
    return bomb


def same_leaf(element: bytes) -> Bomb:
    """Return a leaf of very many elements that are one byte each, named again and again."""
    bomb = Bomb()
    leaf = bomb.leaf(array(element, 250_000))
    bomb.manifest([leaf] * 400)
    return bomb


def dense_piece(element: bytes) -> Bomb:
    """Return the same elements in a value that is cut into pieces."""
    bomb = Bomb()
    first = bomb.chunk(RAW, b"\x01\xdd" + (100 << 20).to_bytes(4, "big"))
    piece = bomb.chunk(RAW, element * (1 << 18))
    bomb.chunk(PIECES, b"", [first, *[piece] * 400])
    return bomb


def chain() -> Bomb:
    """Return ten thousand groups, each of one: nothing is shared, and no stack is that deep."""
    bomb = Bomb()
    bomb.leaf(array(b"\x07", 8))
    for _ in range(10_000):
        bomb.chunk(GROUP, b"", [bomb.root])
    bomb.manifest([bomb.root])
    return bomb


EXPANDING: dict[str, Callable[[], Bomb]] = {
    "lists": lists,
    "a few lists": partial(lists, 23),
    "groups": groups,
    "groups of nothing": empty_groups,
    "pieces": pieces,
    "a leaf of nothings": partial(same_leaf, b"\xc0"),
    "a leaf of empty dicts": partial(same_leaf, b"\x80"),
    "pieces of empty lists": partial(dense_piece, b"\x90"),
    "a chain": chain,
}


# ------------------------------------------------------------------------------------------------- planted in a store


def plant(memory: Memory, thread: str, bomb: Bomb, channels: Sequence[str] = ("bomb",)) -> None:
    """Store a checkpoint whose channels are a bomb, as somebody does who may write to the store."""
    made = checkpoint(dict.fromkeys(channels))
    encoded: dict[str, EncodedValue | None] = dict.fromkeys(channels, EncodedValue(None, bomb.root))
    body, roots = encode_record(SERDE, thread, made, {"source": "loop", "step": 0, "parents": {}}, encoded)
    plant_body(memory, thread, made["id"], body, roots, bomb.chunks)


def plant_body(
    memory: Memory, thread: str, id: str, body: bytes, roots: bytes = b"", chunks: Sequence[Chunk] = ()
) -> None:
    """Store a checkpoint of these bytes."""
    backend = memory.store.backend
    new = NewCheckpoint(thread, "", id, None, body, roots, b"", None, chunks, None, None, "allow")
    memory.store.run(lambda: backend.put(new), write=True)


def plant_writes(memory: Memory, thread: str, body: bytes) -> None:
    """Store a sound checkpoint, and pending writes of these bytes."""
    made = checkpoint({"a": 1})
    saver, backend = memory.get_langgraph_checkpointer(), memory.store.backend
    saver.put(config(thread), made, {"source": "loop", "step": 0, "parents": {}}, {})
    memory.store.run(lambda: backend.put_writes(NewWrites(thread, "", made["id"], body, None)), write=True)


def plant_messages(memory: Memory, thread: str, bomb: Bomb) -> None:
    """Store a message list that is a bomb."""
    backend = memory.store.backend
    new = NewMessages(thread, b"", bomb.root, bomb.chunks, None)
    memory.store.run(lambda: backend.put_messages(new), write=True)


# --------------------------------------------------------------------------------------------- in a process of its own


def tried(group: str) -> dict[str, dict[str, Any]]:
    """Try each bomb of a group, `Module.NAME`, in a process of its own; return what came of each, by name."""
    done = subprocess.run(
        [sys.executable, "-c", f"import {__name__} as bombs; bombs.main({group!r})"],
        capture_output=True,
        text=True,
        timeout=280,
        cwd=Path(__file__).parents[1],
    )
    assert done.returncode == 0, done.stderr[-2000:] or done.returncode
    return dict(map(json.loads, done.stdout.splitlines()))


def main(group: str) -> None:
    """Try each bomb of a group: those of `EXPANDING` are planted, others are called."""
    import importlib

    module, _, name = group.rpartition(".")
    attempts: dict[str, Callable[[], Any]] = getattr(importlib.import_module(module), name)
    bounded()
    for title, attempt in attempts.items():
        started, came = time.process_time(), "nothing"
        try:
            attempt()
        except CharmError as error:
            came = type(error).__name__
        except BaseException as error:
            came = f"{type(error).__name__}: {error}"
        took = round(time.process_time() - started, 3)
        sys.stdout.write(json.dumps([title, {"came": came, "took": took}]) + "\n")
        sys.stdout.flush()


def bounded() -> None:
    """Bound the memory and the time of this process, where the system can."""
    try:
        import resource
    except ImportError:  # Windows
        return
    pages = int(Path("/proc/self/statm").read_text().split()[0]) if Path("/proc/self/statm").exists() else 0
    most = pages * resource.getpagesize() + ROOM
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_CPU, (60, 60))


def reading(make: Callable[[], Bomb]) -> Callable[[], Any]:
    """Return what plants a bomb in a store of its own, and reads it."""

    def attempt() -> Any:
        with open_memory("memory://") as memory:
            plant(memory, "t", make())
            return memory.get_langgraph_checkpointer().get_tuple(config("t"))

    return attempt


READ = {name: reading(make) for name, make in EXPANDING.items()}

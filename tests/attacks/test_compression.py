"""Compressed bytes that unpack to very many, or say so.

The attacker may write to the store. 32 kB of zstd are 1 GB once they are unpacked, and the header of a frame may say
2⁴⁰ bytes, which are asked of the system before one is looked at. He wants the reader to run out of memory.

What he gets is `StoreCorrupt`, before anything is allocated: small frames may unpack to 64 MiB, larger ones to 2,048
times what is stored, and all chunks of one checkpoint together to no more. Nothing is packed further than that by who
writes: what is nearly all the same stays as large as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from attacks.bombs import SECONDS, Bomb, array, plant_body, plant_writes, reading, tried
from charm_checkpoint import open_memory
from charm_checkpoint.errors import StoreCorrupt
from charm_checkpoint.testing.samples import config
from charm_checkpoint.values.encoder import RAW
from charm_checkpoint.values.limits import FREE, GROWTH, Limits
from charm_checkpoint.values.packing import ZSTD, _take, pack, pack_value, unpack, unpack_value


def says(size: int, rest: bytes = b"\x01\0\0") -> bytes:
    """Return packed bytes whose header says so many."""
    return ZSTD + b"\xe0" + size.to_bytes(8, "little") + rest


def squeezed(payload: bytes) -> bytes:
    """Return packed bytes, however much smaller these are."""
    return ZSTD + _take().compress(payload)


def many_frames() -> Bomb:
    """Return chunks that unpack to 60 MB each, none of them too much by itself."""
    bomb = Bomb()
    pieces = [bomb.chunk(RAW, bytes([n]) * (60 << 20)) for n in range(40)]
    bomb.chunk(b"\x02", b"", pieces)
    return bomb


def read_record(body: bytes) -> Any:
    with open_memory("memory://") as memory:
        plant_body(memory, "t", "1f000000-0000-6000-8000-000000000000", body)
        return memory.get_langgraph_checkpointer().get_tuple(config("t"))


def read_writes(body: bytes) -> Any:
    with open_memory("memory://") as memory:
        plant_writes(memory, "t", body)
        return memory.get_langgraph_checkpointer().get_tuple(config("t"))


HUGE = says(1 << 30, b"\x02\x00\x10\x00" * 8000)  # blocks that repeat one byte 131,072 times
DENSE = squeezed(b"\x01" + array(b"\x80", 60_000_000)[1:])

READ: dict[str, Callable[[], Any]] = {
    "2⁴⁰ bytes": partial(unpack, says(1 << 40)),
    "2⁶³ bytes": partial(unpack, says(1 << 63)),
    "more than there are": partial(unpack, says(FREE)),
    "a gigabyte": partial(unpack, HUGE),
    "no size": partial(unpack, ZSTD + b"\x00\x50\x01\0\0"),
    "a window of terabytes": partial(unpack, ZSTD + b"\xc0\xff" + (1000).to_bytes(8, "little") + b"\x01\0\0"),
    "a record": partial(read_record, HUGE),
    "a record of empty dicts": partial(read_record, squeezed(bytes(3) + b"\x09" + b"\x01" * 9 + bytes(60_000_000))),
    "writes": partial(read_writes, HUGE),
    "writes of empty dicts": partial(read_writes, DENSE),
    "many frames": reading(many_frames),
}


@pytest.mark.timeout(300)  # 2.5 GB are unpacked
def test_each_is_refused_at_once_within_little_memory() -> None:
    came = tried("attacks.test_compression.READ")
    assert {name: each["came"] for name, each in came.items()} == dict.fromkeys(READ, "StoreCorrupt")
    assert max(each["took"] for name, each in came.items() if name != "many frames") < SECONDS


def test_the_bounds_are_those_of_the_writer() -> None:
    for payload in (bytes(FREE), bytes(FREE + (8 << 20)), b"ab" * (FREE // 2 + 1), bytes(range(256)) * 1000):
        packed = pack(payload)
        assert unpack(packed) == payload
        assert len(payload) <= max(FREE, GROWTH * len(packed))


@pytest.mark.parametrize("count", [900, 5000, 50_000])
def test_many_elements_that_are_the_same_stay_as_large_as_they_are(count: int) -> None:
    limits = Limits(1 << 30, 1000)
    payload = b"\x01" + array(b"\x80", count)[1:]
    packed = pack_value(payload, limits)
    assert unpack_value(packed, limits) == payload
    assert packed[:1] == (ZSTD if len(payload) <= 1000 else b"\0")
    if count > 1000:
        with pytest.raises(StoreCorrupt, match="more than the 1,000 elements"):
            unpack_value(squeezed(payload), limits)


def test_a_text_is_one_element_however_long() -> None:
    limits = Limits(1 << 30, 1000)
    payload = b"\x01\xdb" + (100_000).to_bytes(4, "big") + b"x" * 100_000
    packed = pack_value(payload, limits)
    assert packed[:1] == ZSTD and unpack_value(packed, limits) == payload

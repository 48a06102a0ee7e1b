"""Values of which a few bytes take hours, or gigabytes, to make.

The attacker may write to the store: numbers whose common factors are looked for, expressions whose compiler goes over
all characters there are, runs with a shape for every row, frozensets in each other that are looked through on every
level, a large text inside very many tuples, marks of shapes that no class has, names of megabytes, and what very many
tasks wrote. All of it is small where it is stored, as it repeats itself.

What he gets is the value, in about the time that its bytes take, or an error of a few lines.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from typing import Any

import ormsgpack
import pytest

from attacks.bombs import SECONDS, tried
from charm_checkpoint import open_memory
from charm_checkpoint.errors import NotSerializable, StoreCorrupt, TypeNotLoaded
from charm_checkpoint.saver.pending_writes import decode_writes
from charm_checkpoint.saver.task_writes import encode_writes
from charm_checkpoint.values import codes
from charm_checkpoint.values.limits import Limits
from charm_checkpoint.values.packing import pack
from charm_checkpoint.values.sealing import Identities, seal
from charm_checkpoint.values.serde import Serializer
from charm_checkpoint.values.serde.class_fields import ENUM

SERDE = Serializer(on_unknown="raise")


def ext(code: int, body: Any) -> Any:
    return ormsgpack.Ext(code, body if isinstance(body, bytes) else ormsgpack.packb(body))


def reading(value: Any) -> Callable[[], Any]:
    return partial(SERDE.loads, b"\x01" + ormsgpack.packb(value))


def inside(code: int, levels: int, value: Any) -> Any:
    for _ in range(levels):
        value = ext(code, [value])
    return value


def number(size: int) -> Any:
    return ext(codes.BIG_INT, b"\x01" + b"\x35\x91\x07" * size)


def shapes(count: int) -> Callable[[], Any]:
    """Return what reads a run in which every message has a shape of its own."""
    state = {"content": "", "additional_kwargs": {}, "response_metadata": {}, "type": "human", "name": None, "id": None}
    run = ormsgpack.packb([[["h", []]] * count, list(range(count)), [state] * count])
    return partial(SERDE.loads_many, b"\x03" + run)


READ: dict[str, Callable[[], Any]] = {
    "a fraction": reading(ext(codes.FRACTION, [number(200_000), number(199_999)])),
    "a pattern of ranges": reading(ext(codes.PATTERN, ["([\x01-\U0010ffff])" * 20_000, int(re.IGNORECASE)])),
    "a pattern of escaped ranges": reading(ext(codes.PATTERN, [r"[\x01-\uffff]" * 20_000, int(re.IGNORECASE)])),
    "a pattern of bytes": reading(ext(codes.PATTERN, [b"[a-\xff]" * 200_000, 0])),
    "a long pattern": reading(ext(codes.PATTERN, ["(a)" * 1_000_000, 0])),
    "a shape for every row": shapes(25_000),
    "frozensets in frozensets": reading(inside(codes.FROZENSET, 200, ext(codes.FROZENSET, list(range(100_000))))),
    "a large text in tuples": reading(inside(codes.TUPLE, 200, "a" * (7 << 20))),
    "marks of shapes": reading([ext(ENUM, [f"re:RegexFlag#{n:08x}", 2, "IGNORECASE"]) for n in range(1_000)]),
    "a name of a class": reading(ext(ENUM, ["re:" + "y" * (4 << 20), 2, "IGNORECASE"])),
}


def test_what_is_slow_to_make_is_made_quickly_or_refused() -> None:
    for title, came in tried(f"{__name__}.READ").items():
        assert came["came"] in ("nothing", "StoreCorrupt", "TypeNotLoaded"), (title, came)
        assert came["took"] < SECONDS, (title, came)


def test_large_fractions_come_back_as_they_are_and_no_others_are_made() -> None:
    large = Fraction(3**20_000, 2**20_001)
    assert SERDE.loads(SERDE.dumps(large)) == large
    for denominator in (0, -1):
        with pytest.raises(StoreCorrupt):
            reading(ext(codes.FRACTION, [number(3000), denominator]))()


def test_a_pattern_that_would_not_be_read_is_not_written() -> None:
    words = re.compile("|".join(f"word{n}" for n in range(5_000)), re.IGNORECASE)
    assert SERDE.loads(SERDE.dumps(words)) == words
    with pytest.raises(NotSerializable, match="regular expression"):
        SERDE.dumps(re.compile("[\u0101-\u0111]" * 300))


def test_an_error_quotes_no_megabytes() -> None:
    with pytest.raises(TypeNotLoaded) as caught:
        reading({"k" * 100_000: ext(ENUM, ["re:RegexFlag", None, "z" * 1_000_000])})()
    assert len(str(caught.value)) < 10_000


def test_what_many_tasks_wrote_counts_together() -> None:
    zeros = encode_writes(SERDE, [("a", bytes(1 << 20))], "task", "", None)
    empty = encode_writes(SERDE, [("a", [{}] * 3_000)], "task", "", None)
    limits = Limits(max_bytes=10 << 20, max_elements=10_000)
    assert len(decode_writes(SERDE.loads, [zeros] * 5, limits)) == 1
    with pytest.raises(StoreCorrupt, match="max_bytes"):
        decode_writes(SERDE.loads, [zeros] * 12, limits)
    assert len(decode_writes(SERDE.loads, [empty] * 3, limits)) == 1
    with pytest.raises(StoreCorrupt, match="max_elements"):
        decode_writes(SERDE.loads, [empty] * 8, limits)


def test_what_was_appended_to_messages_counts_together() -> None:
    batch = pack(SERDE.dumps([{"role": "user", "content": "a" * (1 << 20)}]))
    with open_memory("memory://", max_bytes=10 << 20) as memory:
        sealed = seal(Identities().batch("t"), batch)
        for _ in range(12):
            memory.store.run(partial(memory.store.backend.append_messages, "t", sealed), write=True)
        with pytest.raises(StoreCorrupt, match="max_bytes"):
            memory.load_messages("t")

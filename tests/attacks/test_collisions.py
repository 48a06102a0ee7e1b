"""Keys that are built to collide: finding one among them takes as long as there are many.

The attacker may write to the store, or chooses numbers that a program takes for keys. Python's hash of a number is the
number modulo 2⁶¹ - 1, in every process, so a few hundred kB of integers have all the same hash, and a dict of them
takes minutes to build. Text and bytes are salted, and are none of this.

What he gets is `StoreCorrupt`: how many share their hashes is counted before the dict or set is built. Such a state is
refused at the write, too. So is a body that is no list where one should be: a range of 2⁶² numbers is a few bytes, and
a set of it has no end.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from functools import partial
from typing import Any

import ormsgpack
import pytest

from attacks.bombs import SECONDS, tried
from charm_checkpoint.errors import NotSerializable
from charm_checkpoint.values import codes
from charm_checkpoint.values.serde import Serializer

SERDE = Serializer(on_unknown="raise")
MODULUS = 2**61 - 1
COUNT = 30_000


def body(code: int, held: Any) -> bytes:
    return b"\x01" + ormsgpack.packb(ormsgpack.Ext(code, held if isinstance(held, bytes) else ormsgpack.packb(held)))


def integer(value: int) -> Any:
    return ormsgpack.Ext(codes.BIG_INT, value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True))


def pairs(members: list[Any]) -> list[Any]:
    return [part for member in members for part in (member, None)]


def endless() -> Any:
    return ormsgpack.Ext(codes.RANGE, ormsgpack.packb([0, 1 << 62, 1]))


NUMBERS = [integer(n * MODULUS) for n in range(1, COUNT)]
HALF = [*NUMBERS[: COUNT // 2], *range(COUNT // 2)]
TUPLES = [ormsgpack.Ext(codes.TUPLE, ormsgpack.packb([number, 1])) for number in NUMBERS]
FRACTIONS = [ormsgpack.Ext(codes.FRACTION, ormsgpack.packb([number, 1])) for number in NUMBERS]

READ: dict[str, Callable[[], Any]] = {
    **{
        f"{what} in a {where}": partial(SERDE.loads, body(code, pairs(members) if code == codes.MAP else members))
        for what, members in {"numbers": NUMBERS, "half": HALF, "tuples": TUPLES, "fractions": FRACTIONS}.items()
        for where, code in {"dict": codes.MAP, "set": codes.SET, "frozenset": codes.FROZENSET}.items()
    },
    **{
        f"no end, {code}": partial(SERDE.loads, body(code, ormsgpack.packb(endless())))
        for code in (codes.TUPLE, codes.SET, codes.FROZENSET, codes.MAP, codes.ORDERED, codes.COUNTER, codes.FRACTION)
    },
    "no end in a deque": partial(SERDE.loads, body(codes.DEQUE, [None, endless()])),
    "no end in a counter": partial(SERDE.loads, body(codes.COUNTER, [endless()])),
    "no end in an ordered dict": partial(SERDE.loads, body(codes.ORDERED, [endless()])),
    "a fraction of a billion digits": partial(SERDE.loads, body(codes.FRACTION, ["1e1000000000", 1])),
    "a key of a zone": partial(SERDE.loads, body(codes.ZONE, "A" * 100_000)),
}


def test_none_is_built() -> None:
    came = tried("attacks.test_collisions.READ")
    assert {name: each["came"] for name, each in came.items()} == dict.fromkeys(READ, "StoreCorrupt")
    assert max(each["took"] for each in came.values()) < SECONDS


def keys_of(value: Any) -> list[Any]:
    return [value, dict.fromkeys(value), {"inner": [set(value)]}, frozenset(value)]


@pytest.mark.parametrize("make", [lambda n: n * MODULUS, lambda n: (n * MODULUS, "a"), lambda n: Fraction(n * MODULUS)])
def test_what_could_not_be_read_is_refused_at_the_write(make: Callable[[int], Any]) -> None:
    for value in keys_of({make(n) for n in range(1, 2000)}):
        with pytest.raises(NotSerializable, match="have the hashes of others"):
            SERDE.dumps(value)
    for value in keys_of({make(n) for n in range(1, 900)}):
        assert SERDE.loads(SERDE.dumps(value)) == value


def test_ordinary_keys_are_none_of_this() -> None:
    numbers = [*range(-2000, 2000), *(n / 4 for n in range(1, 9000)), *(1 << n for n in range(100))]
    for value in (
        *keys_of(set(numbers)),
        *keys_of({(n, str(n)) for n in range(3000)}),
        *keys_of(set(map(str, numbers))),
    ):
        assert SERDE.loads(SERDE.dumps(value)) == value

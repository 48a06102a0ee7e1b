"""Arrays that are nothing but a shape: NumPy is asked for what no memory and no patience can hold.

The attacker may write to the store. An array is stored as a dtype, a shape and bytes; of these the first two are a few
bytes that can ask for anything: 2⁴⁰ items of no bytes, which NumPy goes through one by one, sizes whose product
overflows, a dtype of a million fields, or one that is nested so deep that no stack is left. He wants the reader to hang
or to run out of memory.

What he gets is `StoreCorrupt`: what shape and dtype come to is compared with the bytes that are there, before NumPy is
asked for an array, and dtypes are described in few words.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy
import ormsgpack
import pytest

from attacks.bombs import SECONDS, tried
from charm_checkpoint.errors import NotSerializable
from charm_checkpoint.values.codes import ARRAY, SCALAR
from charm_checkpoint.values.serde import Serializer

SERDE = Serializer(on_unknown="raise")


def nested(depth: int) -> Any:
    descr: Any = "<i4"
    for _ in range(depth):
        descr = [["f", descr]]
    return descr


STATES: dict[str, list[Any]] = {
    "no bytes": ["|V0", [1 << 40], "C", b""],
    "no bytes in two dimensions": ["|V0", [1 << 20, 1 << 20], "C", b""],
    "no bytes of text": ["<U0", [1 << 40], "C", b""],
    "no fields": [[], [1 << 40], "C", b""],
    "no bytes of a field": [[["f", "|V0"]], [1 << 40], "C", b""],
    "too many": ["<i8", [1 << 40], "C", b"12345678"],
    "an overflow": ["<i8", [1 << 32, 1 << 32], "C", b""],
    "an overflow beyond all": ["<i8", [1 << 62, 4], "C", b""],
    "a size of many digits": ["<i8", [1 << 63] * 60, "C", b""],
    "less than none": ["<i8", [-1], "C", b""],
    "less than none twice": ["<i8", [-1, -1], "C", b"12345678"],
    "no number": ["<i8", [1.0], "C", b"12345678"],
    "very many dimensions": ["|i1", [1] * 200_000, "C", b"1"],
    "a megabyte of dtype": ["i4," * 300_000, [1], "C", b"1234"],
    "many fields": [[[f"f{n}", "<i4"] for n in range(50_000)], [1], "C", b"1234"],
    "fields in fields": [nested(90), [1], "C", b"1234"],
    "a field of many": [[["f", "<i8", [1 << 30, 1 << 30]]], [1], "C", b"12345678"],
    "objects": ["|O", [1], "C", b"12345678"],
    "no unit": ["<M8[99999999999999999999ns]", [1], "C", b"12345678"],
    "no order": ["<i8", [1], "sideways", b"12345678"],
}
"""Bodies of arrays; none is one."""


def encoded(code: int, body: list[Any]) -> bytes:
    return b"\x01" + ormsgpack.packb(ormsgpack.Ext(code, ormsgpack.packb(body)))


READ: dict[str, Callable[[], Any]] = {
    **{name: partial(SERDE.loads, encoded(ARRAY, body)) for name, body in STATES.items()},
    **{f"{name}, one": partial(SERDE.loads, encoded(SCALAR, [body[0], body[3]])) for name, body in STATES.items()},
}


def test_no_array_is_made_of_a_shape() -> None:
    came = tried("attacks.test_arrays.READ")
    arrays = {name: each["came"] for name, each in came.items() if not name.endswith(", one")}
    assert arrays == dict.fromkeys(STATES, "StoreCorrupt")
    assert {each["came"] for each in came.values()} <= {"StoreCorrupt", "nothing"}
    assert max(each["took"] for each in came.values()) < SECONDS


@pytest.mark.parametrize("shape", [(), (0,), (3,), (0, 5), (2, 0, 3), (2, 3)])
@pytest.mark.parametrize("dtype", ["|V0", "<i2", "<M8[25us]", "<U3", [("a", "<i4"), ("b", [("c", "<f8", (2,))])]])
def test_arrays_that_are_some_come_back(shape: tuple[int, ...], dtype: Any) -> None:
    array = numpy.zeros(shape, dtype)
    for given in (array, numpy.asfortranarray(array)):
        found = SERDE.loads(SERDE.dumps(given))
        assert (found.dtype, found.shape, found.tobytes()) == (given.dtype, given.shape, given.tobytes())
        assert found.flags.writeable and found.flags.owndata


def test_what_would_be_refused_is_not_written() -> None:
    for array in (numpy.empty(1 << 40, "V0"), numpy.zeros(1, [(f"f{n}", "<i1") for n in range(20_000)])):
        with pytest.raises(NotSerializable, match="NumPy array"):
            SERDE.dumps(array)

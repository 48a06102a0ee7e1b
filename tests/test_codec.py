"""Values to chunks and back: nothing is lost, and little changes where little changed."""

from __future__ import annotations

import random
from statistics import fmean
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from strategies import values
from strict import same

from charm_checkpoint.contract import ADDRESS_SIZE, Chunk
from charm_checkpoint.values.decoder import Decoder, decode_chunk
from charm_checkpoint.values.elements import FEWEST, Elements
from charm_checkpoint.values.encoder import EncodedValue, Encoder
from charm_checkpoint.values.known_chunks import KnownLeaves
from charm_checkpoint.values.serde import Serializer

SERDE = Serializer(on_unknown="raise")
QUICK = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
FEWER = settings(QUICK, max_examples=25)
"""For values that are large each."""

SIZE = 500
TOUCHED = 8
"""Chunks that one edit of a list of `SIZE` elements may add: the element, its leaf, groups above, a manifest."""


class Held:
    """A thread's chunks, as a store keeps them."""

    def __init__(self) -> None:
        self.leaves = KnownLeaves()
        self.chunks: dict[bytes, Chunk] = {}
        self.latest: bytes | None = None

    def put(self, value: Any) -> tuple[EncodedValue, int]:
        """Encode a value after those before it; return where it went and how many chunks were new."""
        encoder = Encoder(SERDE, self.leaves, set(self.chunks))
        encoded = encoder.value(value, self.latest)
        assert not set(encoder.chunks) & set(self.chunks)
        self.chunks.update(encoder.chunks)
        self.latest = encoded.ref
        return encoded, len(encoder.chunks)

    def get(self, encoded: EncodedValue) -> Any:
        return Decoder(SERDE, {name: decode_chunk(chunk) for name, chunk in self.chunks.items()}).value(encoded)


def test_where_leaves_of_nan_end_does_not_depend_on_where_it_is() -> None:
    for value in (float("nan"), -float("nan"), 1.5):
        twins = list(SERDE.loads(SERDE.dumps([value, value])))
        assert (
            len({Elements(twins, SERDE, lambda _: False).value_hash(n) for n in (0, 1)}) == 1
            and twins[0] is not twins[1]
        )


@QUICK
@given(values(max_leaves=20))
def test_any_value_comes_back(value: Any) -> None:
    held = Held()
    assert same(held.get(held.put(value)[0]), value)


@FEWER
@given(st.lists(values(6), max_size=6), st.integers(0, 400), st.sampled_from([0, 100, 2000]))
def test_a_long_list_of_any_values_comes_back(elements: list[Any], count: int, size: int) -> None:
    value = [*elements, *({"n": n, "text": "x" * (size + n % 3)} for n in range(count)), *elements]
    held = Held()
    assert same(held.get(held.put(value)[0]), value)
    assert same(held.get(held.put(value[1:])[0]), value[1:])


@FEWER
@given(st.dictionaries(st.text(max_size=4) | st.integers() | st.tuples(st.text(max_size=2)), values(6), max_size=8))
def test_a_wide_dict_of_any_keys_comes_back(items: dict[Any, Any]) -> None:
    value = {**{f"key {n}": "y" * (n % 90) for n in range(150)}, **items}
    held = Held()
    assert same(held.get(held.put(value)[0]), value)


@QUICK
@given(st.lists(st.integers(0, 30), max_size=200), st.randoms(use_true_random=False))
def test_equal_values_have_equal_addresses_whatever_came_before(numbers: list[int], source: random.Random) -> None:
    value: list[Any] = [{"text": f"{number}" * 30} for number in numbers]
    held = Held()
    for _ in range(5):
        copy = list(value)
        for _ in range(source.randrange(6)):
            copy.insert(source.randrange(len(copy) + 1), {"text": "new" * 20})
        held.put(copy[source.randrange(4) :])
    assert held.put(value)[0] == Held().put(value)[0]


def element(source: random.Random, size: int) -> dict[str, Any]:
    return {"id": source.random(), "text": source.randbytes(size).hex()}


@pytest.mark.parametrize("size", [5, 100, 1000], ids=["small", "middling", "large"])
@pytest.mark.parametrize("kind", ["list", "dict"])
@pytest.mark.parametrize("edit", ["append", "replace", "insert", "remove", "trim"])
def test_an_edit_touches_few_chunks(kind: str, edit: str, size: int) -> None:
    source = random.Random(f"{kind} {edit} {size}")
    items = [(f"key {n}", element(source, size)) for n in range(SIZE)]
    held = Held()
    touched = []

    def put() -> int:
        value: Any = dict(items) if kind == "dict" else [item for _, item in items]
        encoded, new = held.put(value)
        if len(touched) % 4 == 0:  # to read all is what takes the time
            assert held.get(encoded) == value
        return new

    put()
    for step in range(20):
        place = source.randrange(len(items))
        fresh = (f"new {step}", element(source, size))
        if edit == "append":
            items.append(fresh)
        elif edit == "replace":
            items[place] = (items[place][0], fresh[1])
        elif edit == "insert":
            items.insert(place, fresh)
        elif edit == "remove":
            del items[place]
        else:
            del items[0]
        touched.append(put())
    # An edit that takes the last leaf's end away leaves as many elements open as a leaf has.
    assert 0 < max(touched) <= TOUCHED + FEWEST
    assert fmean(touched) <= TOUCHED - 3
    assert put() == 0


@pytest.mark.parametrize("kind", ["list", "dict"])
def test_a_hundred_thousand_elements_need_a_small_manifest(kind: str) -> None:
    numbers = range(100_000)
    value: Any = [f"element {n}" for n in numbers] if kind == "list" else {f"key {n}": n for n in numbers}
    held = Held()
    encoded, _ = held.put(value)
    assert encoded.ref is not None
    manifest = held.chunks[encoded.ref]
    assert len(manifest.data) + len(manifest.refs) < 1500
    assert all(len(chunk.refs) <= 128 * ADDRESS_SIZE for chunk in held.chunks.values())
    if kind == "list":
        value.append("one more")
    else:
        value["one more"] = 1
    assert held.put(value)[1] <= TOUCHED
    assert held.get(held.put(value)[0]) == value

"""Subclasses of plain types are stored as their base, by the base's own methods; registered ones as themselves."""

from __future__ import annotations

import logging
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Iterator
from decimal import Decimal
from enum import Enum, IntFlag
from fractions import Fraction
from typing import Any, NamedTuple
from uuid import UUID

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage
from langchain_core.runnables.utils import AddableDict
from strategies import values
from strict import same

from charm_checkpoint.errors import NotSerializable
from charm_checkpoint.values.encoder import Encoder
from charm_checkpoint.values.known_chunks import KnownLeaves
from charm_checkpoint.values.serde import Serializer, bases, classes, register_type

SERDE = Serializer(on_unknown="raise")


@pytest.fixture(autouse=True)
def untold(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let every class be new to the warnings, and registrations end with the test."""
    monkeypatch.setattr(bases, "_warned", set())
    names, registered = dict(classes._names), dict(classes._registered)
    yield
    for table, before in ((classes._names, names), (classes._registered, registered)):
        table.clear()
        table.update(before)  # type: ignore[attr-defined]
    classes._layouts.clear()


def lie(*args: Any, **kwargs: Any) -> Any:
    raise AssertionError("a subclass's own code was called")


LIES = dict.fromkeys(
    [
        *("__iter__", "__len__", "__getitem__", "__contains__", "__bool__", "__repr__", "__str__", "__reduce_ex__"),
        *("__int__", "__index__", "__float__", "__complex__", "__pos__", "__bytes__", "__format__", "__copy__"),
        *("keys", "items", "values", "copy", "encode", "isascii", "__getnewargs__", "__sizeof__", "__reversed__"),
    ],
    lie,
)
OWN = {UUID: {}, Decimal: {}, Fraction: {}}
"""Bases whose own code asks the instance."""
LIARS = {base: type(f"Liar{base.__name__}", (base,), OWN.get(base, LIES)) for base in bases.BASES}


def make(value: Any) -> Any:
    """Return a plain value as an instance of a subclass whose own methods are of no use."""
    base = type(value)
    if base is deque:
        return LIARS[deque](value, value.maxlen)
    if base is defaultdict:
        return LIARS[defaultdict](value.default_factory, value)
    if base is Counter:
        made = LIARS[Counter]()
        dict.update(made, value)
        return made
    if base is UUID:
        return LIARS[UUID](int=value.int, is_safe=value.is_safe)
    return LIARS[base](value)


def disguise(value: Any, draw: Any) -> Any:
    """Return a value, and what it holds, with some plain ones as instances of subclasses."""
    kind = type(value)
    if kind in (list, tuple, set, frozenset):
        value = kind(disguise(item, draw) for item in value)
    elif kind is deque:
        value = deque((disguise(item, draw) for item in value), value.maxlen)
    elif kind in (dict, OrderedDict):
        value = kind((disguise(key, draw), disguise(item, draw)) for key, item in value.items())
    return make(value) if kind in LIARS and draw(st.booleans()) else value


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data(), values(max_leaves=16))
def test_any_mix_of_subclasses_is_stored_as_the_plain_values(data: Any, value: Any) -> None:
    disguised = disguise(value, data.draw)
    assert SERDE.dumps(disguised) == SERDE.dumps(value)
    assert same(SERDE.loads(SERDE.dumps(disguised)), value)
    many = SERDE.dumps_many([disguised, disguised])
    assert many == SERDE.dumps_many([value, value]) and same(SERDE.loads_many(many), [value, value])
    assert SERDE.run([disguised])[1].digest == SERDE.run([value])[1].digest
    leaves = KnownLeaves()
    assert Encoder(SERDE, leaves).value(disguised) == Encoder(SERDE, leaves).value(value)


PLAIN = {
    **{str: "né\ud800", int: -(2**70), float: 0.5, complex: 1j, bytes: b"\xc4x", bytearray: bytearray(b"\xc4")},
    **{list: [bytearray(b"\xc4")], tuple: (1,), dict: {1: 2}, set: {1, "a"}, frozenset: frozenset([1])},
    **{OrderedDict: OrderedDict(b=1, a=2), Counter: Counter("aab"), defaultdict: defaultdict(list, a=[1])},
    **{deque: deque([1], 3), UUID: UUID(int=3), Decimal: Decimal("1.50"), Fraction: Fraction(1, 3)},
}


@pytest.mark.parametrize("base", bases.BASES, ids=lambda base: base.__name__)
def test_each_plain_type(base: Any) -> None:
    value = PLAIN[base]
    for place in (lambda v: v, lambda v: [v], lambda v: {"k": v}, lambda v: AIMessage("x", additional_kwargs={"k": v})):
        assert same(SERDE.loads(SERDE.dumps(place(make(value)))), place(value))
    moved = OrderedDict(a=1, b=2)
    moved.move_to_end("a")
    assert list(SERDE.loads(SERDE.dumps(make(moved)))) == ["b", "a"]


class Slotted(str):
    """Text that needs two arguments to be made, keeps one in a slot and cannot be copied."""

    __slots__ = ("parent",)

    def __new__(cls, text: str, parent: Any) -> Slotted:
        made = super().__new__(cls, text)
        made.parent = parent
        return made

    def __reduce__(self) -> Any:
        raise TypeError("no pickling")


class Attributes(dict[str, Any]):
    """A dict whose keys are attributes, too."""

    def __getattr__(self, name: str) -> Any:
        return self[name]


@pytest.mark.parametrize("value", [Slotted("x", object()), Attributes(a=Attributes(b=1))], ids=["text", "dict"])
def test_what_libraries_make_of_plain_types(value: Any) -> None:
    assert SERDE.loads(SERDE.dumps([value, {"k": value}])) == [value, {"k": value}]
    assert type(SERDE.loads(SERDE.dumps(value))) in (str, dict)


def parsed() -> Iterator[Any]:
    soup = pytest.importorskip("bs4").BeautifulSoup("<p>text</p>", "html.parser")
    yield soup.p.string


def escaped() -> Iterator[Any]:
    yield pytest.importorskip("markupsafe").Markup("text")


def queried() -> Iterator[Any]:
    yield pytest.importorskip("lxml.etree").fromstring("<p>text</p>").xpath("string()")


@pytest.mark.parametrize("texts", [parsed, escaped, queried])
def test_texts_of_parsers(texts: Any) -> None:
    for text in texts():
        assert type(text) is not str
        assert same(SERDE.loads(SERDE.dumps({"k": [text]})), {"k": ["text"]})


def test_a_class_is_told_once_and_langchains_never(caplog: pytest.LogCaptureFixture) -> None:
    class Text(str):
        pass

    class Wide(bytearray):
        pass

    with caplog.at_level(logging.WARNING, "charm_checkpoint"):
        for _ in range(2):
            SERDE.dumps([Text("a"), Text("b"), {Text("c"): Wide(b"x")}])
            SERDE.dumps([AIMessage("x").text, AddableDict(a=1)])
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 2
    assert "Text is a subclass of str and stored as plain str, without its class and attributes" in told[0]
    assert told[0].endswith("Call register_type(Text) to keep both.")
    assert "Wide is a subclass of bytearray" in told[1] and "register_type" not in told[1]


def test_classes_with_a_form_of_their_own_stay() -> None:
    class Flags(IntFlag):
        A = 1
        B = 2

    class Word(str, Enum):
        A = "a"

    class Pair(NamedTuple):
        left: Any

    @register_type
    class Known(dict[str, Any]):
        pass

    for value in (Flags.A | Flags.B, Word.A, Pair(1), Known(a=1), np.float64(1.5), np.str_("x"), Counter("a"), True):
        assert same(SERDE.loads(SERDE.dumps({"k": value, "l": [value]})), {"k": value, "l": [value]})


class Loud(str):
    """Text that is equal to nothing but itself."""

    __hash__ = object.__hash__

    def __eq__(self, other: object) -> bool:
        return self is other


class Odd(int):
    """A number that is equal to nothing but itself."""

    __hash__ = object.__hash__

    def __eq__(self, other: object) -> bool:
        return self is other


@pytest.mark.parametrize(
    "members",
    [
        [Loud("a"), "a"],
        [Loud("a"), Loud("a")],
        [Odd(1), 1.0],
        [Odd(1), True],
        [(Loud("a"), 1), ("a", 1)],
        [frozenset([Odd(2)]), frozenset([2])],
    ],
)
def test_members_and_keys_that_become_equal_are_refused(members: list[Any]) -> None:
    for value in (dict.fromkeys(members), set(members), frozenset(members)):
        for dumps in (SERDE.dumps, lambda value: SERDE.dumps_many([value["x"]])):
            with pytest.raises(NotSerializable, match=r"are .* once they are stored. Keep one of them") as caught:
                dumps({"x": {"y": value}})
            assert caught.value.path[-1] == "y"
    assert SERDE.loads(SERDE.dumps({*members[:1]})) is not None


class Hashed(list[Any]):
    """A list that can be a key, as a plain one cannot."""

    def __hash__(self) -> int:  # type: ignore[override]
        return 1


@pytest.mark.parametrize("value", [{Hashed(): 1}, {Hashed()}, {(1, Hashed()): 1}], ids=["key", "member", "inside"])
def test_a_key_that_could_not_be_one_when_it_is_read_is_refused(value: Any) -> None:
    for held in ({"x": value}, {"x": {**dict.fromkeys(map(str, range(300)), "y" * 9), "x": value}}):
        for write in (SERDE.dumps, Encoder(SERDE, KnownLeaves()).value):
            with pytest.raises(NotSerializable, match=r"^x.*as which it is stored, is no key or member of a set"):
                write(held)


def test_not_a_number_is_no_duplicate() -> None:
    nans = {float("nan"), float("nan"), (float("nan"),), (float("nan"),)}
    assert len(SERDE.loads(SERDE.dumps(nans))) == 4

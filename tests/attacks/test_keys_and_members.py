"""A dict or a set that is read asks its keys and members for their hash, and whether they are equal.

The attacker may write to the store. He makes a key, or a member of a set, of an object whose class has a ``__hash__``
or ``__eq__`` of its own, at any depth inside of what is hashed; or of a class with ``__getattr__``, whose generated
hash looks at a field that he left out. Python then runs that code while the value is put together.

What he gets instead: such an object is no key and no member, at the read and at the write, unless its class is
registered. What dataclasses, pydantic, enums and named tuples generate is no code of the program's, and goes on.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import pydantic
import pytest
from pydantic import BaseModel, ConfigDict

from attacks.forging import FROZENSET, MAP, OBJECT, SERDE, SET, TUPLE, ext, instance, named, read
from charm_checkpoint.errors import NotSerializable, TypeNotLoaded
from charm_checkpoint.values.encoder import Encoder
from charm_checkpoint.values.known_chunks import KnownLeaves
from charm_checkpoint.values.serde import classes, register_type

RAN: list[str] = []


@pytest.fixture(autouse=True)
def nothing_ran() -> Iterator[None]:
    names, registered = dict(classes._names), dict(classes._registered)
    RAN.clear()
    yield
    for table, before in ((classes._names, names), (classes._registered, registered)):
        table.clear()
        table.update(before)  # type: ignore[attr-defined]
    classes._layouts.clear()


@dataclasses.dataclass(frozen=True)
class Hashed:
    x: Any = 1

    def __hash__(self) -> int:
        RAN.append("__hash__")
        return 1


@dataclasses.dataclass(unsafe_hash=True)
class Equal:
    x: Any = 1

    def __eq__(self, other: object) -> bool:
        RAN.append("__eq__")
        return True


@dataclasses.dataclass(frozen=True)
class Lacking:
    x: Any

    def __getattr__(self, name: str) -> Any:
        RAN.append("__getattr__")
        return 1


class Model(BaseModel):
    model_config = ConfigDict(frozen=True)
    x: Any = 1

    def __hash__(self) -> int:
        RAN.append("__hash__")
        return 1


class Level(enum.Enum):
    LOW = 1

    def __hash__(self) -> int:
        RAN.append("__hash__")
        return 1


class Pair(NamedTuple):
    left: Any
    right: Any = 1


class HashedPair(Pair):
    def __hash__(self) -> int:
        RAN.append("__hash__")
        return 1


@dataclasses.dataclass(frozen=True)
class Holder:
    held: Any
    also: Any = dataclasses.field(default=None, hash=False)


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="allow")
    held: Any = 1


@pydantic.dataclasses.dataclass(frozen=True)
class Checked:
    x: int


@dataclasses.dataclass(frozen=True, order=True)
class Ordered:
    x: int
    y: str = dataclasses.field(default="y", compare=False)
    z: int = dataclasses.field(default=3, kw_only=True)


@dataclasses.dataclass(frozen=True, slots=True)
class Slotted:
    x: int


OWN = [instance(Hashed, x=1), instance(Equal, x=1), ext(OBJECT, named(Lacking), {}, None, ["x"]), instance(Model, x=1)]
WAYS = [
    lambda own: ext(MAP, own, 1),
    lambda own: ext(MAP, "a", 1, own, 1),
    lambda own: ext(SET, own),
    lambda own: ext(FROZENSET, own, own),
    lambda own: ext(SET, ext(TUPLE, 1, ext(TUPLE, own))),
    lambda own: ext(SET, ext(FROZENSET, own)),
    lambda own: ext(MAP, instance(Holder, held=own, also=1), 1),
    lambda own: ext(MAP, instance(Holder, held=1, also=[{"a": [own]}]), 1),
    lambda own: ext(MAP, instance(Frozen, held=ext(TUPLE, own)), 1),
    lambda own: ext(SET, ext(44, named(Pair), {"left": own, "right": 1})),
]


@pytest.mark.parametrize("own", OWN, ids=["hash", "eq", "getattr", "model"])
@pytest.mark.parametrize("way", WAYS)
def test_it_is_not_read(own: Any, way: Any) -> None:
    with pytest.raises(TypeNotLoaded, match=r"^a.*: .*has code of its own, __(hash|eq|getattr)__, .*register_type"):
        read({"a": way(own)})
    assert RAN == []


def test_nor_a_member_of_an_enum_or_a_named_tuple() -> None:
    for own in (ext(43, named(Level), 1, "LOW"), ext(44, named(HashedPair), {"left": 1, "right": 1})):
        for way in WAYS:
            with pytest.raises(TypeNotLoaded, match="has code of its own"):
                read(way(own))
    assert RAN == []


OBJECTS = [Hashed(), Equal(), Model(), Level.LOW, HashedPair(1)]


@pytest.mark.parametrize("own", OBJECTS, ids=lambda own: type(own).__name__)
def test_it_is_not_written(own: Any) -> None:
    wide = {str(n): "x" * 9 for n in range(300)}
    for value in ({own: 1}, {own}, {(1, own)}, {Holder(own)}, OrderedDict({own: 1}), Counter([own]), {**wide, own: 1}):
        for write in (SERDE.dumps, Encoder(SERDE, KnownLeaves()).value):
            with pytest.raises(NotSerializable, match=r"^a.*has code of its own"):
                write({"a": value})
    assert SERDE.loads(SERDE.dumps([own, {"a": own}])) is not None
    register_type(type(own))
    assert SERDE.loads(SERDE.dumps({"a": {own: 1}}))["a"][own] == 1


GENERATED = [
    *(Holder(1), Holder((1, "a")), Frozen(), Checked(1), Ordered(1), Slotted(1), Pair(1), Pair(1, Pair(2))),
    *((1, frozenset([2])), Path("x"), UUID(int=1), None, 1.5, b"x", int),
]


def test_what_is_generated_goes_on() -> None:
    value = {key: n for n, key in enumerate(GENERATED)}
    for each in (value, set(value), frozenset(value), OrderedDict(value), Counter(value), defaultdict(list, value)):
        assert SERDE.loads(SERDE.dumps(each)) == each


@dataclasses.dataclass(frozen=True)
class Partly:
    x: int
    beside: Any = dataclasses.field(default=None, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "note", Hashed())

    @functools.cached_property
    def costly(self) -> Any:
        return Hashed()


class Cached(BaseModel):
    model_config = ConfigDict(frozen=True)
    x: int = 1

    @functools.cached_property
    def costly(self) -> Any:
        return Hashed()


def test_what_is_not_compared_does_not_count() -> None:
    keys: list[Any] = [Partly(1, Hashed()), Cached()]
    assert [type(key.costly) for key in keys] == [Hashed, Hashed]
    found = SERDE.loads(SERDE.dumps(dict.fromkeys(keys, 1)))
    assert [(type(key), key.x) for key in found] == [(Partly, 1), (Cached, 1)] and RAN == []
    assert type(next(iter(found)).beside) is Hashed
    with pytest.raises(NotSerializable, match=r"register_type\(Hashed\)"):
        SERDE.dumps({Partly(Hashed()): 1})  # type: ignore[arg-type]
    with pytest.raises(TypeNotLoaded, match=r"register_type\(Hashed\)"):
        read(ext(SET, [ext(OBJECT, named(Partly), {"x": instance(Hashed, x=1), "beside": None})]))

"""What a class gained that is no field: private attributes, and attributes of plain classes; reading twice is alike."""

from __future__ import annotations

import dataclasses
import random
from enum import Enum, auto
from typing import Any, NamedTuple

import ormsgpack
import pytest
from deployed import NAME, deploy
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr
from pydantic import v1 as pydantic_v1

from charm_checkpoint.errors import TypeNotLoaded
from charm_checkpoint.values.serde import Serializer
from charm_checkpoint.values.serde.own_attributes import assigned_attributes
from charm_checkpoint.values.serde.unknown import Unknown

SERDE = Serializer(on_unknown="raise")


pytestmark = pytest.mark.usefixtures("own_classes")


# -- private attributes without a default -----------------------------------------------------------------------------


class Before(BaseModel):
    id: str = "7"


class Made(BaseModel):
    id: str = "7"
    _made: str = PrivateAttr()

    def model_post_init(self, context: Any) -> None:
        self._made = f"made of {self.id}"


class Late(BaseModel):
    """A class whose private attribute may be set later."""

    id: str = "7"
    _made: str = PrivateAttr()
    _seen: int = PrivateAttr(0)


class LateLoose(Late):
    model_config = ConfigDict(extra="allow")


def test_one_that_is_new_and_has_no_default_is_named() -> None:
    deploy(Before)
    data, run = SERDE.dumps([Before()]), SERDE.dumps_many([Before(), Before()])
    deploy(Made)
    for load, stored in ((SERDE.loads, data), (SERDE.loads_many, run)):
        with pytest.raises(TypeNotLoaded, match=r"^\[0\]: .*Made has changed .*private attribute '_made'.*default"):
            load(stored)
    assert type(Serializer().loads(data)[0]) is Unknown
    deploy(Made, upgrade=lambda fields: fields, validate=True)
    with pytest.raises(TypeNotLoaded, match="'_made'"):  # its fields are those that the class has
        SERDE.loads(data)
    deploy(Made, version=2, validate=True)
    assert [each._made for each in (*SERDE.loads(data), *SERDE.loads_many(run))] == ["made of 7"] * 3


@pytest.mark.parametrize("cls", [Late, LateLoose])
def test_one_that_was_not_set_is_not_set_when_it_is_read(cls: Any) -> None:
    deploy(cls)
    unset, partly = cls(), cls.model_construct()
    there = cls()
    there._made = "m"
    del partly.__dict__["id"]
    unset._seen = 5
    for values in ([unset, unset], [unset, there], [there, there], [partly, unset, there]):
        for found in (SERDE.loads(SERDE.dumps(values)), SERDE.loads_many(SERDE.dumps_many(values))):
            assert [each.__pydantic_private__ for each in found] == [each.__pydantic_private__ for each in values]
            assert list(map(vars, found)) == list(map(vars, values)) and found == values
            assert not hasattr(found[0], "_made") or values[0] is there


def test_what_was_stored_before_that_was_noted_is_read_as_it_was() -> None:
    body = [NAME, {"id": "7"}, []]
    data = b"\1" + ormsgpack.packb([ormsgpack.Ext(40, ormsgpack.packb(body))])
    deploy(Late)
    assert SERDE.loads(data) == [Late()]


# -- attributes of plain classes --------------------------------------------------------------------------------------


class Thing:
    def __init__(self) -> None:
        self.id = "7"


class Tagged:
    def __init__(self, tags: Any = None) -> None:
        self.id = "7"
        if tags is None:
            tags = []
        self.tags = tags
        if len(tags) > 3:
            self.many = True
        for each in tags:
            self.last = each


class WithDefault(Tagged):
    tags: Any = ()


class Derived(Thing):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[int] = []


class Slotted:
    __slots__ = ("id", "tags")

    def __init__(self) -> None:
        self.id, self.tags = "7", [1]


class SlottedBefore:
    __slots__ = ("id",)

    def __init__(self) -> None:
        self.id = "7"


class Nothing:
    pass


def test_what_an_init_always_sets_is_known_without_running_it() -> None:
    class Own:
        def __init__(this, other: Any) -> None:  # noqa: N805 (it may have any name)
            other.else_where = 1
            this.one = this.two = other
            (this.three, this.four), this.five = (1, 2), [each.x for each in other]
            this.__six = lambda: this
            with other:
                this.seven: int = 7
            try:
                this.eight = 8
            except ValueError:
                raise
            while other:
                this.not_nine = 9
            this.ten = other and 10

    ten = {"one", "two", "three", "four", "five", "_Own__six", "seven", "eight", "ten"}
    assert assigned_attributes(Own) == ten
    assert assigned_attributes(Tagged) == assigned_attributes(Derived) == {"id", "tags"}
    assert assigned_attributes(Nothing) == assigned_attributes(int) == frozenset()


@pytest.mark.parametrize(
    ("before", "after"), [(Thing, Tagged), (Thing, Derived), (SlottedBefore, Slotted), (Nothing, Tagged)]
)
def test_one_that_is_new_is_named_with_what_to_do(before: Any, after: Any) -> None:
    deploy(before)
    data = SERDE.dumps([before()])
    deploy(after)
    with pytest.raises(TypeNotLoaded, match=rf"^\[0\]: .*{after.__name__} has changed .*__init__ sets .*tags.*upgrade"):
        SERDE.loads(data)
    assert type(Serializer().loads(data)[0]) is Unknown
    deploy(after, upgrade=lambda fields: {"tags": [2], "id": "8", **fields})
    assert SERDE.loads(data)[0].tags == [2]


def test_one_that_the_class_has_by_itself_is_there() -> None:
    deploy(Thing)
    data = SERDE.dumps(Thing())
    deploy(WithDefault)
    assert SERDE.loads(data).tags == ()


@pytest.mark.parametrize("cls", [Thing, Tagged, Derived, Slotted])
def test_what_lacks_one_by_itself_is_read_as_it_was(cls: Any) -> None:
    deploy(cls)
    value = cls()
    del value.id
    bare = object.__new__(cls)
    for each in (value, bare):
        found = SERDE.loads(SERDE.dumps(each))
        assert not hasattr(found, "id") and hasattr(found, "tags") == hasattr(each, "tags")

    class Other:
        def __init__(self) -> None:
            self.id, self.size = "7", 1

    data = SERDE.dumps([value])
    deploy(Other, upgrade=lambda fields: {**fields, "size": 2})
    assert vars(SERDE.loads(data)[0])["size"] == 2


# -- reading twice ----------------------------------------------------------------------------------------------------


class Random(BaseModel):
    id: float = Field(default_factory=random.random)
    tags: list[int] = Field(default_factory=list)
    _hash: float = PrivateAttr(default_factory=random.random)
    _count: list[int] = PrivateAttr(default_factory=list)

    def model_post_init(self, context: Any) -> None:
        self._count.append(1)


class RandomV1(pydantic_v1.BaseModel):
    id: float = pydantic_v1.Field(default_factory=random.random)
    _hash: float = pydantic_v1.PrivateAttr(default_factory=random.random)


@dataclasses.dataclass
class RandomData:
    id: float = dataclasses.field(default_factory=random.random)
    size: float = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        self.size = random.random()


class RandomRow(NamedTuple):
    id: float


class RandomPlain:
    def __init__(self) -> None:
        self.id = random.random()

    def __eq__(self, other: object) -> bool:
        return type(other) is RandomPlain and vars(self) == vars(other)


class Shade(Enum):
    LOW = auto()


class Grown(Random):
    more: list[int] = [1]
    _more: list[int] = PrivateAttr([2])


class GrownV1(RandomV1):
    more: list[int] = [1]


@dataclasses.dataclass
class GrownData(RandomData):
    more: list[int] = dataclasses.field(default_factory=list)


@pytest.mark.parametrize(
    "value",
    [Random(), RandomV1(), RandomData(), RandomRow(random.random()), RandomPlain(), Shade.LOW],
    ids=lambda value: type(value).__name__,
)
def test_reading_twice_gives_equal_values(value: Any) -> None:
    deploy(type(value))
    data, run = SERDE.dumps(value), SERDE.dumps_many([value] * 3)
    for found in (SERDE.loads(data), SERDE.loads(data), *SERDE.loads_many(run)):
        assert found == value and SERDE.dumps(found) == data
    assert SERDE.dumps_many(SERDE.loads_many(run)) == run


@pytest.mark.parametrize(("value", "after"), [(Random(), Grown), (RandomV1(), GrownV1), (RandomData(), GrownData)])
def test_reading_twice_gives_equal_values_of_a_class_that_grew(value: Any, after: Any) -> None:
    deploy(type(value))
    data, run = SERDE.dumps(value), SERDE.dumps_many([value] * 3)
    deploy(after)
    first, *others = SERDE.loads(data), SERDE.loads(data), *SERDE.loads_many(run)
    for found in others:
        assert found == first and found.id == value.id and SERDE.dumps(found) == SERDE.dumps(first)
    first.more.append(3)
    assert others[0] != first


def test_a_random_default_of_a_registered_class_is_made_anew_until_it_is_stored() -> None:
    deploy(Before)
    data = SERDE.dumps(Before())

    class New(Before):
        token: float = Field(default_factory=random.random)

    deploy(New)  # which vouches for it: the one case in which two reads differ, until it is stored anew
    first, second = SERDE.loads(data), SERDE.loads(data)
    assert first.token != second.token and SERDE.loads(SERDE.dumps(first)) == first

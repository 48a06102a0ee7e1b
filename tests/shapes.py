"""Data classes of every kind, and values of them."""

from __future__ import annotations

import dataclasses
import enum
import threading
from functools import cached_property
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

import pydantic
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, RootModel, computed_field, field_validator

T = TypeVar("T")


class Address(BaseModel):
    street: str = ""
    when: tuple[int, ...] = ()


class User(BaseModel):
    name: str
    tags: list[str] = Field(default_factory=list, alias="Tags")
    address: Address | None = None
    _seen: list[int] = PrivateAttr(default_factory=list)
    _unset: int

    @field_validator("name")
    @classmethod
    def _strip(cls, value: str) -> str:
        return value.strip() + "!"

    @computed_field  # type: ignore[prop-decorator]
    @property
    def size(self) -> int:
        return len(self.name)

    @cached_property
    def costly(self) -> Any:
        return threading.Lock()


class Noted(BaseModel):
    address: Address
    _seen: list[int] = PrivateAttr(default_factory=list)


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)
    x: int = 1


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")
    x: int = 1


class Forbid(BaseModel):
    model_config = ConfigDict(extra="forbid")
    x: int = 1


class Box(BaseModel, Generic[T]):
    item: T


class Names(RootModel[list[str]]):
    pass


@dataclasses.dataclass
class Point:
    x: int
    y: list[int] = dataclasses.field(default_factory=list)
    total: int = dataclasses.field(init=False)
    kind: ClassVar[str] = "point"
    seed: dataclasses.InitVar[int] = 0

    def __post_init__(self, seed: int) -> None:
        self.total = self.x + seed
        self.note = "not a field"


@dataclasses.dataclass(slots=True, frozen=True, kw_only=True)
class Slotted:
    a: Any
    b: Any = None


@dataclasses.dataclass
class Typed(Generic[T]):
    item: T


class Child(Slotted):
    pass


@pydantic.dataclasses.dataclass
class Checked:
    x: int
    y: str = "y"


class Color(enum.Enum):
    RED = 1
    BLUE = "blue"
    PAIR = (1, 2)
    CRIMSON = 1


class Level(enum.IntEnum):
    LOW = 1


class Mode(str, enum.Enum):
    FAST = "fast"
    ODD = "\ud800"


class Perm(enum.Flag):
    R = enum.auto()
    W = enum.auto()


class Bits(enum.IntFlag):
    A = 1
    B = 2


class Pair(NamedTuple):
    left: Any
    right: Any = None


class Outer:
    class Inner(BaseModel):
        x: int


def local(fields: str = "x") -> Any:
    class Local(BaseModel):
        x: int = 1

    return Local


LOCAL = local()
USER = User(name="ann", Tags=["a"], address=Address(when=(1, 2)))
USER._seen.append(3)
POINT = Point(1, [2], seed=5)
VALUES = [
    *(USER, User(name="bob"), Frozen(x=2), Frozen(), Frozen(x=1), Open(x=1, z=[1]), Open(x=1, z=(1,)), Names(["a"])),
    *(Box[int](item=1), Box[Frozen](item=Frozen()), Box[Any](item=1), Box(item=1), Box[list[int]](item=[1])),
    *(POINT, Slotted(a=[1], b=Pair(1)), Slotted(a=1), Child(a=1), Checked(1), Checked(1, "z"), Typed(1)),
    *(Color.RED, Color.BLUE, Color.PAIR, Level.LOW, Mode.FAST, Mode.ODD, Perm.R, Perm.R | Perm.W, Perm(0)),
    *(
        Bits.A,
        Bits.A | Bits.B,
        Bits(8),
        Pair(1),
        Pair([1], Pair(2, 3)),
        Outer.Inner(x=1),
        LOCAL(),
        User.model_construct(),
    ),
    *({Color.RED: 1, Pair(1): 2, Frozen(): 3}, {Mode.FAST: 1}, {"fast": 1}, Color, Frozen),
]


class Bag(dict):  # type: ignore[type-arg]
    __slots__ = ("label", "__dict__")


class Word(str):
    pass


class Track:
    __slots__ = ("a", "__weakref__")


class Plain:
    def __init__(self, x: Any) -> None:
        raise AssertionError("never called")

"""What cannot come back is refused: when it is registered, and when it is written."""

from __future__ import annotations

import abc
import array
import collections
import functools
import hashlib
import operator
import queue
import random
import re
import socket
import sqlite3
import struct
import threading
import types
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Generic, TypeVar

import pydantic_core
import pytest
from pydantic import BaseModel
from strict import same

from charm_checkpoint.errors import ConfigError, NotSerializable
from charm_checkpoint.values.serde import Serializer, classes, register_type

SERDE = Serializer(on_unknown="raise")
T = TypeVar("T")


@pytest.fixture(autouse=True)
def registry() -> Iterator[None]:
    names, registered = dict(classes._names), dict(classes._registered)
    yield
    for table, before in ((classes._names, names), (classes._registered, registered)):
        table.clear()
        table.update(before)  # type: ignore[attr-defined]
    classes._layouts.clear()


class Call(functools.partial[Any]):
    pass


class Local(threading.local):
    pass


class Queue(collections.deque[Any]):
    pass


class Dice(random.Random):
    pass


class Made(collections.defaultdict[Any, Any]):
    pass


class Sorted(collections.OrderedDict[Any, Any]):
    pass


@dataclass
class Job(functools.partial[Any]):
    def __init__(self) -> None:
        self.name = "x"

    def __new__(cls) -> Job:
        return super().__new__(cls, print)


@dataclass
class Slot(threading.local):
    name: str = "x"


OF_C = [
    functools.partial(print),
    threading.Lock(),
    threading.RLock(),
    re.match("", ""),
    pydantic_core.SchemaValidator({"type": "int"}),
    zlib.compressobj(),
    hashlib.sha256(),
    array.array("b"),
    struct.Struct("b"),
    operator.itemgetter(1),
    functools.lru_cache(print),
    socket.socket,
    sqlite3.Connection,
    types.ModuleType("m"),
    (n for n in ()),
    types.SimpleNamespace(),
    Call(print),
    Local(),
    Queue(),
    Dice(),
    Made(),
    Sorted(),
    Job(),
    Slot(),
]


@pytest.mark.parametrize("value", OF_C, ids=lambda value: getattr(value, "__name__", type(value).__name__))
def test_what_c_code_keeps_in_an_instance_is_refused_when_it_is_registered(value: Any) -> None:
    cls: Any = value if isinstance(value, type) else type(value)
    with pytest.raises(ConfigError, match=r"cannot be registered: its instances hold more than attributes.*dump="):
        register_type(cls)
    with pytest.raises(ConfigError):
        register_type(cls, name="mine")
    if cls is not value and not isinstance(value, (dict, collections.deque)):  # those are kept as their base
        with pytest.raises(NotSerializable, match=r"^k\[0\]: .*cannot be stored"):
            SERDE.dumps({"k": [value]})


class Plain:
    pass


class Slotted:
    __slots__ = ("a", "__private", "__weakref__")

    def __init__(self) -> None:
        self.a, self.__private = 1, [2]


class Wider(Slotted):
    __slots__ = "b"  # one name

    def __init__(self) -> None:
        super().__init__()
        self.b = {"c": 3}


class Deep(Wider, Generic[T], abc.ABC):
    def __init__(self) -> None:
        super().__init__()
        self.more = (4,)


class Words(list[str]):
    __slots__ = ("note",)

    def __init__(self) -> None:
        super().__init__(["a"])
        self.note = "n"


class Money(int):
    pass


@dataclass(slots=True)
class Fast:
    x: list[int] = field(default_factory=list)


MINE = (Plain, Slotted, Wider, Deep, Words, Money, Fast)


@pytest.mark.parametrize("cls", [*MINE, Fraction, queue.Queue, abc.ABC])
def test_classes_of_python_are_taken(cls: Any) -> None:
    assert register_type(cls) is cls
    if cls in MINE:
        value = cls()
        found = SERDE.loads(SERDE.dumps([value]))[0]
        assert type(found) is cls
        for name in ("a", "_Slotted__private", "b", "more", "note", "x"):
            assert same(getattr(found, name, None), getattr(value, name, None))


class Model(BaseModel):
    lock: Any = None


@pytest.mark.parametrize(
    ("value", "advice"),
    [
        (threading.Lock(), r"say how with register_type\(lock, dump="),
        (functools.partial(print), r"say how with register_type\(partial, dump="),
        (queue.Queue(), r"say how with register_type\(Queue, dump="),
        (pytest.MonkeyPatch(), r"say how with register_type\(MonkeyPatch, dump="),
        (Plain(), r"Make it a dataclass or pydantic model, or call register_type\(Plain\)\."),
    ],
    ids=lambda value: type(value).__name__,
)
def test_the_advice_is_of_use(value: Any, advice: str) -> None:
    for held in ({"k": value}, [Model(lock=value)]):
        with pytest.raises(NotSerializable, match=advice):
            SERDE.dumps(held)

"""What golden stores of the second version hold beside golden_contents, so that they touch every form there is.

Never change what is here once a version that was filled with it is released; see golden_contents.
"""

from __future__ import annotations

import sys
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Iterator
from datetime import datetime, time, timedelta, timezone
from enum import Enum, Flag, IntEnum
from functools import cached_property
from typing import Any, Generic, TypeVar
from uuid import UUID, SafeUUID
from zoneinfo import ZoneInfo

import langchain_core.messages as lc
import numpy as np
from golden_contents import DAY, HOSTILE, Open, Point, Put, order
from langgraph.checkpoint.serde.types import _DeltaSnapshot
from langgraph.store.base import GetOp, Item
from langgraph.types import PregelTask, StateSnapshot
from pydantic import AnyUrl, BaseModel, ByteSize, Field, HttpUrl, PostgresDsn, Secret
from pydantic_core import MultiHostUrl, TzInfo, Url

from charm_checkpoint.values.serde import register_type

T, U = TypeVar("T"), TypeVar("U")


class Level(IntEnum):
    LOW = 1


class Tone(str, Enum):
    SOFT = "soft"


class Mix(Flag):
    RED = 1
    BLUE = 2
    DARK = 8


class Box(BaseModel, Generic[T]):
    held: T


class Both(BaseModel, Generic[T, U]):
    left: T
    right: U


class Loose(BaseModel):
    """A model of which not all that it holds is a field that is stored."""

    kept: int
    left_out: int = Field(default=7, exclude=True)

    @cached_property
    def twice(self) -> int:
        return 2 * self.kept


@register_type(name="golden.Bag")
class Bag(dict):  # type: ignore[type-arg]
    pass


@register_type(name="golden.Row")
class Row(list):  # type: ignore[type-arg]
    pass


@register_type(name="golden.Trio")
class Trio(tuple):  # type: ignore[type-arg]
    pass


@register_type(name="golden.Count")
class Count(int):
    pass


class Dial:
    """What the program itself says how to store."""

    def __init__(self, at: int) -> None:
        self.at = at

    def __eq__(self, other: object) -> bool:
        return type(other) is Dial and other.at == self.at

    __hash__ = None  # type: ignore[assignment]


register_type(Dial, name="golden.Dial", dump=lambda dial: {"at": dial.at}, load=lambda data: Dial(data["at"]))


if sys.version_info < (3, 14):  # beyond, pydantic has no models of its first version
    from pydantic import v1

    class Old(v1.BaseModel):
        x: int
        _own: int = v1.PrivateAttr(default=1)


def made(kind: Any) -> Any:
    """Return a class of a function's: two of one name, which only the marks of their shapes tell apart."""

    class Local(BaseModel):
        x: kind

    return Local


OF_INT, OF_TEXT = made(int), made(str)


def odd_point() -> Point:
    """Return a dataclass without one of its fields and with an attribute beside them."""
    point = Point(1)
    del point.y
    point.z = [2]  # type: ignore[attr-defined]
    return point


def values() -> dict[str, Any]:
    """Return values of the types and in the forms that golden_contents has not, by channel."""
    return {
        "zones": [DAY.replace(tzinfo=TzInfo(3600)), TzInfo(-1800), timezone.utc, timezone(timedelta(minutes=-90)),
                  time(1, 2, tzinfo=ZoneInfo("UTC")), datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59, 999999)],
        "urls": [Url("http://a.b/c"), MultiHostUrl("postgres://u:p@a:1,b:2/db"), AnyUrl("x://y"),
                 HttpUrl("https://a.b"), PostgresDsn("postgres://u@h/d")],
        "kinds": [Level.LOW, Tone.SOFT, Mix.RED | Mix.DARK, Box[int](held=1), Box[Box[int]](held=Box[int](held=2)),
                  Both[int, str](left=1, right="a"),
                  Loose(kept=1), Bag(a=1), Row([1]), Trio((1, 2)), Count(2**70), Dial(3), odd_point(), ByteSize(5),
                  Secret(5), OF_INT(x=1), OF_TEXT(x="a"), lc.HumanMessage.model_construct(content="p", type="human")],
        "classes": [Box[int], OF_INT, dict, Level, lc.AIMessageChunk],
        "langgraph": [_DeltaSnapshot([1]), GetOp(("a",), "k"),
                      Item(value={}, key="k", namespace=("a",), created_at=DAY, updated_at=DAY),
                      PregelTask("id", "name", ("__pregel_pull", "name")),
                      StateSnapshot({"a": 1}, ("n",), {}, None, None, None, (), ())],
        "messages": [lc.FunctionMessage("x", name="f"), lc.ToolMessageChunk("x", tool_call_id="1"),
                     lc.HumanMessageChunk("x"), lc.SystemMessageChunk("x"), lc.ChatMessageChunk("x", role="r"),
                     lc.FunctionMessageChunk("x", name="f")],
        "arrays": [np.array(1 + 2j), np.zeros((0, 3)), np.bool_(True), np.str_("a"), np.array([1], ">i2"),
                   np.timedelta64("NaT", "s"), np.array([b"a", b"bc"])],
        "containers": [deque([1]), defaultdict(dict, a={}), OrderedDict(), Counter(), {"a": {1: {(): frozenset()}}},
                       UUID(int=2, is_safe=SafeUUID.unsafe), {None: 1, 1.5: 2, b"": 3, DAY: 4}, [[[[[[[[[[1]]]]]]]]]],
                       -(2**63), 2**63, -(2**63) - 1, "\udfff", range(-3)],
        "opens": [Open(name=str(n), more=[n]) for n in range(70)],  # columns with extras
        "private": [order() for _ in range(40)],  # columns with private state
        "shapes": [Open(name="a") if n % 3 else Loose(kept=n) for n in range(120)],
        "deep groups": [{"n": n, "text": f"{n:05}" * 96} for n in range(5200)],
        "delta dict": _DeltaSnapshot({f"key {n}": f"value {n}" * 3 for n in range(200)}),
        "named": {f"{n:03}": {"deep": [f"{n} " * 500] * (n % 5), "flat": "x" * (n * 7)} for n in range(90)},
        "bytes": b"\0\1\2\3" * 200_000,
        "odd text": "\ud800" + "y" * 3000,
    }  # fmt: skip


FIRST_ID, SECOND_ID = "1ef00000-0000-6000-8000-00000000000a", "1ef00000-0000-6000-8000-00000000000b"
NESTED = {"a": {"b": {"c": True}, "d.e": 1.0, "list": [1]}, "user": {"name": "ann", "of": HOSTILE}}
"""Metadata that has tags for what is nested in it."""
WIDE = {"many": {f"key {n}": n for n in range(60)}}
"""Metadata with more nested entries than have tags."""
LONG = "long name " * 1000


def puts() -> Iterator[Put]:
    """Yield what was put, in order."""
    yield Put("types", "", FIRST_ID, None, values(), {"source": "input", "step": -1, "run_id": FIRST_ID})
    kept = frozenset(values())
    yield Put("types", "", SECOND_ID, FIRST_ID, {**values(), "more": 1},
              {"source": "loop", "step": 0, "thread_id": "types"}, kept)  # fmt: skip
    yield Put(
        "written", "", "w", None, {"messages": [lc.HumanMessage("what was  asked\nfirst")], "branch:to:x": None},
        {"source": "input", "step": 3, **NESTED},
        writes=(
            ("task-1", "~__pregel_pull, x", [("a", 1), ("b", Point(1)), ("__scheduled__", None)]),
            ("task-2", "", [("__error__", "boom"), ("a", "x" * 5000)]),
            ("task-1", "~__pregel_pull, x", [("a", "too late"), ("__resume__", ["answer"])]),
        ),
    )  # fmt: skip
    yield Put("written", "sub:1|deeper", "below", None, {"log": list(range(400))}, {"step": 1, **WIDE},
              writes=(("task", "", [("__interrupt__", ())]),))  # fmt: skip
    yield Put(LONG, LONG, LONG, None, {LONG: LONG}, {LONG: LONG})
    yield Put("\0", "\udfff", "e\u0301", None, {"": 0}, {"": {"": ""}})
    yield Put("going", "", "g", None, {"branch:to:x": None}, {"source": "fork"})
    yield Put(SWEPT, "", "stays", None, {"log": ["stays"] * 900}, {"run_id": "another"})
    yield Put(SWEPT, "", "goes", "stays", {"log": ["goes"] * 900}, {"run_id": SWEPT})
    if sys.version_info < (3, 14):
        yield Put("v1", "", "v1", None, {"old": Old(x=1), "olds": [Old(x=n) for n in range(200)]}, {})
    yield Put("asked", "", FIRST_ID, None, {"log": 1}, {"step": 5}, writes=(("t", "", [("__interrupt__", [1])]),))
    yield Put("failed", "", SECOND_ID, None, {"log": 1}, {"step": 6}, writes=(("t", "", [("__error__", "no")]),))


SWEPT = "swept"
"""A thread of which a checkpoint was deleted with its run, of the same name."""

EARLY = ("early", "not yet", "task", [("a", 1)])
"""Writes whose checkpoint is still to come: thread, checkpoint, task, writes."""

SAID = {
    "batches": [[{"role": "user", "content": f"said {n}", "n": [n, None, 1.5, True, {"a": n}]} for n in range(40)],
                [{"role": "assistant", "content": "short"}], [{"role": "user", "content": "said at length, " * 400}]],
    LONG: [[{"content": LONG}]],
}  # fmt: skip
"""Messages that were appended, batch by batch, of each thread; what comes first was saved."""

LOGGED = "logged"
"""A thread whose log holds the first of these messages."""

STATUS = {
    "types": (None, "done", 0, "loop"),
    "written": ("what was asked first", "failed", 3, "input"),
    "asked": (None, "waits", 5, None),
    "going": (None, "unfinished", None, "fork"),
    "failed": (None, "failed", 6, None),
}
"""What a listing says of some of the threads: title, status, step, source."""

FILTERS: list[tuple[dict[str, Any], list[str]]] = [
    ({"a.b.c": True}, ["w"]),
    ({"a": {"b": {"c": True}}}, ["w"]),
    ({"user": {"name": "ann"}}, ["w"]),
    ({"user.of": HOSTILE}, ["w"]),
    ({"a": {"d.e": 1}}, ["w"]),
    ({"many.key 59": 59}, ["below"]),
    ({"user.name": "bob"}, []),
]
"""Filters, and what of these they find."""

"""What golden stores hold, and what they must read back as; see golden/write.py.

Never change what is here: it says what the golden stores of versions gone by were filled with. What a later
version adds goes into contents of its own.
"""

from __future__ import annotations

import re
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, Flag
from fractions import Fraction
from ipaddress import ip_address, ip_interface, ip_network
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any, NamedTuple
from uuid import UUID, SafeUUID
from zoneinfo import ZoneInfo

import langchain_core.messages as lc
import numpy as np
from langchain_core.documents import Document
from langgraph.checkpoint.serde.types import _DeltaSnapshot
from langgraph.types import Command, Interrupt, Overwrite, Send, TimeoutPolicy
from pydantic import BaseModel, PrivateAttr, RootModel, SecretBytes, SecretStr

from charm_checkpoint.values.serde import register_type

DAY = datetime(2026, 2, 3, 4, 5, 6, 789, timezone.utc)


class Color(Enum):
    RED = "red"
    DEEP = (1, 2)


class Way(Flag):
    NORTH = 1
    EAST = 2


class Pair(NamedTuple):
    left: int
    right: Any = None


@dataclass
class Point:
    x: Any
    y: Any = field(default_factory=list)


@dataclass(frozen=True)
class Fixed:
    __slots__ = ("x",)
    x: int


class Order(BaseModel):
    number: int
    lines: list[Any] = []
    _seen: int = PrivateAttr(default=0)


class Open(BaseModel, extra="allow"):
    name: str


class Names(RootModel[list[str]]):
    pass


@register_type(name="golden.Plain")
class Plain:
    def __init__(self, x: Any) -> None:
        self.x = x

    def __eq__(self, other: object) -> bool:
        return type(other) is Plain and other.x == self.x

    __hash__ = None  # type: ignore[assignment]


@register_type(name="golden.Title")
class Title(str):
    pass


def order() -> Order:
    made = Order(number=1, lines=[Point(1, [Fixed(2)])])
    made._seen = 3
    return made


def messages(turns: int) -> list[Any]:
    """Return a conversation with a tool call in each turn."""
    found: list[Any] = []
    for n in range(turns):
        call = {"name": "look", "args": {"n": n}, "id": f"call-{n}", "type": "tool_call"}
        usage = {"input_tokens": n, "output_tokens": 2, "total_tokens": n + 2}
        found += [
            lc.HumanMessage(f"question {n}", id=f"h{n}"),
            lc.AIMessage("", id=f"a{n}", tool_calls=[call], usage_metadata=usage),  # type: ignore[list-item,arg-type]
            lc.ToolMessage(f"answer {n}", id=f"t{n}", tool_call_id=f"call-{n}", artifact={"n": (n,)}),
        ]
    return found


def values() -> dict[str, Any]:
    """Return values of every type and in every form that is stored, by channel."""
    return {
        "none": None,
        "small": "text",
        "flags": [True, False, 1, 0, 1.0, -0.0, float("inf"), 2**53 + 1, 2**64, -(2**200), 1 + 2j],
        "texts": ["", "a\0b", "\ud800x", "né𝄞", "x" * 2000, b"", b"\xc4\xc5\xc6", bytearray(b"a"), b"x" * 3000],
        "times": [DAY, DAY.replace(tzinfo=None, fold=1), DAY.replace(tzinfo=ZoneInfo("Europe/Paris"), fold=1),
                  date(1, 1, 1), time(1, tzinfo=timezone.utc, fold=1), time(1, 2, 3, 4), timedelta(-1, 2, 3),
                  timezone(timedelta(hours=1), "CET"), ZoneInfo("America/New_York")],
        "exact": [Decimal("1.10"), Fraction(1, 3), UUID(int=7), UUID(int=1, is_safe=SafeUUID.safe), range(1, 9, 3),
                  re.compile("a.b", re.S), SecretStr("s"), SecretBytes(b"s")],
        "places": [ip_address("1.2.3.4"), ip_interface("::1/64"), ip_network("1.0.0.0/8"),
                   PurePosixPath("a/b"), PureWindowsPath("c:\\a")],
        "nested": {"a": [{"b": ({"c": {1}}, deque([1, 2], maxlen=3))}], 1: "int key", (1, "a"): "tuple key"},
        "mappings": [OrderedDict([("b", 1), ("a", 2)]), defaultdict(list, a=[1]), defaultdict(None, a=1),
                     Counter("aab"), frozenset({"a"}), {"x", None}],
        "arrays": [np.arange(6).reshape(2, 3), np.asfortranarray(np.arange(6.0).reshape(2, 3)), np.array(["a", "bc"]),
                   np.array([(1, 2.0)], [("a", "<i4"), ("b", "<f8")]), np.float32(1.5), np.datetime64(1, "s")],
        "classes": [Color.RED, Color.DEEP, Way.NORTH, Pair(1, [2]), Point(1, [Point(2)]), Fixed(1), order(),
                    Open(name="n", more=[1]), Names(["a"]), Plain([1]), Title("t"), int, Order, lc.AIMessage],
        "langgraph": [Send("node", {"x": 1}), Interrupt({"q": 1}, id="i"), Command(update={"a": 1}, resume=2),
                      Overwrite([1]), TimeoutPolicy(run_timeout=3.0), Document("x", metadata={"a": 1})],
        "other messages": [lc.SystemMessage([{"type": "text", "text": "x"}]), lc.RemoveMessage("1"),
                           lc.ChatMessage("x", role="r"), lc.AIMessageChunk("x"), lc.HumanMessage("x", unknown=[1]),
                           lc.HumanMessage.model_construct(content="partial")],
        "messages": messages(40),
        "delta": _DeltaSnapshot(messages(2)),
        "long delta": _DeltaSnapshot([{"n": n} for n in range(400)]),
        "long": [{"n": n, "text": f"element {n}"} for n in range(3000)],
        "numbers": [n * 0.5 for n in range(3000)],
        "alike": ["same"] * 1500,
        "wide": {f"key {n}": "v" * (n % 90) for n in range(1000)},
        "keyed": {(n, "k"): [n] for n in range(200)},
        "orders": [Order(number=n) for n in range(60)],
        "mixed": [*([Order(number=1), "text", None, Pair(1)] * 40)],
        "large": ["x" * 5000, {"deep": ["y" * 5000, [b"z" * 5000, {"more": ["w" * 300] * 40}]]}, [1] * 5000],
        "huge": "ab" * 1_200_000,
        "huge element": ["cd" * 1_200_000, 1],
        "empty": [[], {}, (), "", set()],
    }  # fmt: skip


class Put(NamedTuple):
    """A checkpoint that was put; its channels are all new unless ``kept`` names some that are the parent's."""

    thread: str
    ns: str
    id: str
    parent: str | None
    values: dict[str, Any]
    metadata: dict[str, Any]
    kept: frozenset[str] = frozenset()
    writes: tuple[tuple[str, str, list[tuple[str, Any]]], ...] = ()
    conflict: str | None = None


HOSTILE = "a\0b/../\ud800%_:|{}'"


def puts() -> Iterator[Put]:
    """Yield what was put, in order."""
    everything = values()
    yield Put(
        "everything", "", "1ef00000-0000-6000-8000-000000000001", None, everything,
        {"source": "input", "step": -1, "parents": {}, "run_id": "run-1", "user": "ann", "tags": ["a", {"b": None}]},
        writes=(("task-b", "~__pregel_pull, b", [("a", [1]), ("__resume__", "yes"), ("messages", messages(1))]),
                ("task-a", "", [("x", Point(1)), ("__error__", "boom"), ("__interrupt__", (Interrupt(1, id="i"),))])),
    )  # fmt: skip
    grown = dict(everything)
    grown["messages"] = [*everything["messages"], *messages(41)[-3:]]
    grown["long"] = everything["long"][7:2900]
    grown["wide"] = {**everything["wide"], "key 500": "changed", "new": 1}
    changed = {"messages", "long", "wide"}
    yield Put(
        "everything", "", "1ef00000-0000-6000-8000-000000000002", "1ef00000-0000-6000-8000-000000000001", grown,
        {"source": "loop", "step": 0, "parents": {}, "run_id": "run-1", "score": 1.5},
        kept=frozenset(everything) - changed,
    )  # fmt: skip
    yield Put(HOSTILE, "", HOSTILE, None, {HOSTILE: HOSTILE}, {HOSTILE: HOSTILE, "source": "loop"})
    yield Put(HOSTILE, "sub|" + HOSTILE, "in sub", None, {"log": ["sub"] * 300}, {"parents": {"": HOSTILE}})
    for turn in range(5):
        parent = f"turn-{turn - 1}" if turn else None
        log = [{"turn": n, "text": f"what was said in turn {n}"} for n in range(40 * turn + 1)]
        yield Put("chat", "", f"turn-{turn}", parent, {"log": log}, {"source": "loop", "step": turn})
    # The head was turn-4 when this came, by a writer that had not seen it.
    yield Put("chat", "", "branch", "turn-2", {"log": ["branch"]}, {"source": "loop", "step": 3}, conflict="turn-4")


PRUNED = "pruned"
DELETED = "deleted"
MESSAGES = {
    "chat": [{"role": "user", "content": "hi", "n": n, "nested": {"a": [None, 1.5, True]}} for n in range(90)],
    HOSTILE: [{"type": "human", "data": {"content": HOSTILE}}],
    "only messages": [{"role": "user", "content": "hi"}],
}

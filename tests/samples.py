"""One of everything that must come back as itself."""

from __future__ import annotations

import re
from collections import Counter, OrderedDict, defaultdict, deque
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from ipaddress import ip_address, ip_interface, ip_network
from pathlib import Path, PurePosixPath, PureWindowsPath
from uuid import UUID, SafeUUID, uuid1, uuid4
from zoneinfo import ZoneInfo

import langchain_core.messages as lc
import numpy as np
from langchain_core.documents import Document
from langgraph.checkpoint.serde.types import _DeltaSnapshot
from langgraph.store.base import GetOp, Item
from langgraph.types import Command, Interrupt, Overwrite, PregelTask, Send, StateSnapshot, TimeoutPolicy
from pydantic import SecretBytes, SecretStr
from pydantic_core import TzInfo

NOW = datetime(2026, 2, 3, 4, 5, 6, 789, timezone.utc)

SCALARS = [
    *(None, True, False, 0, 1, -1, 2**63, 2**64 - 1, 2**64, -(2**63), -(2**63) - 1, 10**400, -(10**400)),
    *(0.0, -0.0, 1.0, float("inf"), 5e-324, "", "a\0b", "\ud800", "né𝄞", "ł" * 300, b"", b"\xc4\xc5\xc6", b"1", "1"),
    *(1j, complex(-0.0, 2), Decimal("1.50"), Decimal("-0"), Decimal("Infinity"), Decimal("1.5"), Fraction(1, 3)),
    *(
        NOW,
        NOW.replace(tzinfo=None),
        NOW.replace(tzinfo=ZoneInfo("Europe/Paris"), fold=1),
        NOW.replace(tzinfo=TzInfo(60)),
    ),
    *(NOW.replace(tzinfo=None, fold=1), datetime.min, datetime.max, date(1, 1, 1), NOW.date(), time(1, 2, 3, 4)),
    *(time(1, tzinfo=timezone.utc, fold=1), timedelta(-1, 2, 3), timedelta.max, timezone.utc, TzInfo(0)),
    *(timezone(timedelta(hours=1)), timezone(timedelta(hours=1), "CET"), ZoneInfo("America/New_York")),
    *(uuid4(), UUID(int=1), UUID(int=1, is_safe=SafeUUID.safe), UUID(int=1, is_safe=SafeUUID.unsafe), uuid1()),
    *(ip_address("1.2.3.4"), ip_interface("1.2.3.4/8"), ip_network("1.0.0.0/8")),
    *(ip_address("::1%eth0"), ip_interface("::1/64"), ip_network("::/64")),
    *(Path("a/\udc80"), PurePosixPath("a/b"), PureWindowsPath("c:\\a"), range(3), range(10**30, 0, -7)),
    *(re.compile("a.b", re.S | re.I), re.compile("(?a)\\w"), re.compile(b"x", re.M), SecretStr("s"), SecretBytes(b"s")),
    *(int, dict, TimeoutPolicy, lc.AIMessage),
    *(np.float64(1), np.float32(1), np.int64(1), np.bool_(True), np.str_("x"), np.datetime64(1, "s"), np.longlong(1)),
]
CONTAINERS = [
    *([], {}, (), set(), frozenset(), deque(), deque([1], 3), deque([1]), bytearray(b"x"), bytearray(), [bytearray()]),
    *((1,), [1], {1}, frozenset([1]), {"a": 1}, {1: "a"}, {None: 1}, {True: 1}, {1.0: 1}, {(1, "a"): {b"x": ()}}),
    *({"b": 1, "a": 2}, {"a": 2, "b": 1}, {"\ud800": 1}, {frozenset([1]): {"x": bytearray(b"\xc4")}}, ["łódź", b"x"]),
    *(
        OrderedDict(a=1),
        OrderedDict([(2, 1), (1, 2)]),
        defaultdict(list, a=[1]),
        defaultdict(None, a=1),
        Counter("aab"),
    ),
    *(Counter({"a": -1, 2: 0}), defaultdict(int, {1: 2}), ((((),),),), [[[]]], {"x", "y", 1, None, (2,), b"z"}),
    *({frozenset([frozenset([1, "\ud800"])])}, {2**70, -(2**70)}),
]
ARRAYS = [
    *(np.arange(6).reshape(2, 3), np.asfortranarray(np.arange(6.0).reshape(2, 3)), np.zeros((0, 3)), np.array(5)),
    *(np.array(["a", "bc"]), np.array([b"a"]), np.array([1, 2], ">i2"), np.array([True]), np.array([1 + 2j])),
    *(np.array([(1, 2.0)], [("a", "<i4"), ("b", "<f8", (1,))]), np.array(["2020"], "M8[D]"), np.arange(9)[::2].copy()),
]
MESSAGES = [
    lc.HumanMessage("hi", id="1", name="\ud800"),
    lc.AIMessage("x", tool_calls=[{"name": "f", "args": {"a": (1,)}, "id": "1"}], additional_kwargs={"n": {1: 2}}),
    lc.AIMessage("x", usage_metadata={"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}),
    *(lc.SystemMessage([{"type": "text", "text": "x"}]), lc.ToolMessage("x", tool_call_id="1", artifact=NOW)),
    *(lc.FunctionMessage("x", name="f"), lc.ChatMessage("x", role="r"), lc.RemoveMessage("1")),
    *(
        lc.BaseMessage("x", type="t"),
        lc.HumanMessageChunk("x"),
        lc.SystemMessageChunk("x"),
        lc.BaseMessageChunk("x", type="t"),
    ),
    *(
        lc.ToolMessageChunk("x", tool_call_id="1"),
        lc.FunctionMessageChunk("x", name="f"),
        lc.ChatMessageChunk("x", role="r"),
    ),
    lc.AIMessageChunk(
        "x", tool_call_chunks=[{"name": "f", "args": "{", "id": "1", "index": 0, "type": "tool_call_chunk"}]
    ),
    *(
        lc.HumanMessage("hi", unknown=[1]),
        lc.HumanMessage.model_construct(content="partial"),
        Document("x", metadata={"a": 1}),
    ),
]
SEND = Send("node", {"x": MESSAGES[0]})
TASK = PregelTask("1", "n", ("a", 1), None, (Interrupt("v", id="i"),))
LANGGRAPH = [
    *(SEND, Send("node", 1, timeout=TimeoutPolicy(run_timeout=3.0)), TimeoutPolicy(idle_timeout=1.0), TASK),
    *(
        Interrupt({"q": 1}, id="i"),
        Interrupt(1, id="i", response_schema=TimeoutPolicy),
        Command(update={"a": 1}, goto=[SEND]),
    ),
    *(Command(resume={"x": 1}), Overwrite([1]), GetOp(("a",), "k"), _DeltaSnapshot([MESSAGES[0]])),
    StateSnapshot({"a": 1}, ("n",), {"configurable": {}}, None, None, None, (TASK,), ()),
    Item(value={"a": 1}, key="k", namespace=("a", "b"), created_at=NOW, updated_at=NOW),
]
ALL = [*SCALARS, *CONTAINERS, *ARRAYS, *MESSAGES, *LANGGRAPH]

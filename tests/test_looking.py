"""Looking at values: any of them is plain JSON, and nothing of a class runs. What every store does is in the suite."""

from __future__ import annotations

import json
import math
from collections import OrderedDict, deque
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple
from uuid import UUID

import pytest
from langchain_core.messages import AIMessage
from pydantic import BaseModel, ConfigDict, SecretStr

from charm_checkpoint import CharmError, ConfigError, PathNotFound, open_memory
from charm_checkpoint.inspection.paths import at_path, parsed
from charm_checkpoint.inspection.plain_diff import differences
from charm_checkpoint.inspection.plain_values import Damaged, Notes, as_plain
from charm_checkpoint.inspection.turns import turn_of
from charm_checkpoint.plan import run
from charm_checkpoint.testing.samples import checkpoint, config
from charm_checkpoint.values.serde import Serializer


class Kind(Enum):
    FAST = "fast"


class Spot(NamedTuple):
    x: int
    y: Any


@dataclass
class Box:
    held: Any

    def __getattribute__(self, name: str) -> Any:
        if name == "held":
            raise AssertionError("an attribute was asked for")
        return super().__getattribute__(name)


class Model(BaseModel):
    model_config = ConfigDict(extra="allow")
    key: SecretStr
    number: int = 1


class Slotted:
    __slots__ = ("one", "two")


PLAIN: list[tuple[Any, Any]] = [
    (None, None),
    (2**200, 2**200),
    (math.inf, "inf"),
    (-0.5, -0.5),
    ("\ud800", "\ud800"),
    (b"abc", {"bytes": 3, "base64": "YWJj"}),
    ((1, [2]), [1, [2]]),
    ({3, 1}, [1, 3]),
    (deque([1]), [1]),
    (OrderedDict(a=1), {"a": 1}),
    ({1: "a", None: "b", (1, 2): "c", Kind.FAST: "d"}, {"1": "a", "None": "b", "(1, 2)": "c", "fast": "d"}),
    ({1: "a", "1": "b"}, {"1": "a", "'1'": "b"}),
    (datetime(2026, 1, 2, tzinfo=timezone.utc), "2026-01-02T00:00:00+00:00"),
    (date(2026, 1, 2), "2026-01-02"),
    (timedelta(hours=1), "1:00:00"),
    (Decimal("1.10"), "1.10"),
    (UUID(int=7), "00000000-0000-0000-0000-000000000007"),
    (PurePosixPath("/a"), "/a"),
    (1 + 2j, "(1+2j)"),
    (Kind.FAST, "fast"),
    (Spot(1, Kind.FAST), {"x": 1, "y": "fast"}),
    (Box([1]), {"held": [1]}),
    (Model(key=SecretStr("hidden"), other=2), {"key": "**********", "number": 1, "other": 2}),
    (ValueError("a", 1), "ValueError: ('a', 1)"),
]


@pytest.mark.parametrize("number", range(len(PLAIN)))
def test_every_value_is_plain(number: int) -> None:
    value, wanted = PLAIN[number]
    plain = as_plain(value)
    assert plain == wanted and type(plain) is type(wanted)
    json.dumps(plain)


def test_slots_and_large_values() -> None:
    slotted = Slotted()
    slotted.one = [1]
    assert as_plain(slotted) == {"one": [1]}
    assert as_plain(b"x" * 5000)["bytes"] == 5000
    assert len(as_plain(b"x" * 5000)["begins"]) == 128


def test_arrays() -> None:
    numpy = pytest.importorskip("numpy")
    assert as_plain(numpy.arange(4).reshape(2, 2)) == {"array": "int64", "shape": [2, 2], "values": [[0, 1], [2, 3]]}
    assert as_plain(numpy.zeros((100, 100)))["begins"] == [0.0] * 10
    assert as_plain(numpy.float32(0.5)) == 0.5
    other = numpy.zeros((100, 100))
    other[99, 99] = 1
    assert as_plain(other) != as_plain(numpy.zeros((100, 100)))
    assert as_plain(other.astype(object)) != as_plain(numpy.zeros((100, 100)).astype(object))


def test_numbers_of_numpy_that_python_has_not() -> None:
    numpy = pytest.importorskip("numpy")
    notes = Notes()
    assert as_plain(numpy.longdouble(1.5), (), notes.tell) == "1.5"
    assert as_plain(numpy.array([numpy.longdouble(1.5)]), (), notes.tell)["values"] == ["1.5"]
    at = numpy.datetime64("2026-11-28T12:00:00.123456789")
    assert as_plain(at) == "2026-11-28T12:00:00.123456789" and as_plain(numpy.datetime64("NaT")) == "NaT"
    assert as_plain(numpy.array([at]))["values"] == [str(at)]
    assert as_plain(numpy.timedelta64(3, "ns")) == "3 nanoseconds" and not notes.found


def test_numbers_that_python_does_not_write() -> None:
    long = 10**5000
    assert as_plain(long) == hex(long) and as_plain(-long) == hex(-long) and as_plain(2**2047 - 1) == 2**2047 - 1
    for value in (Fraction(long), range(long), ValueError(long), {(long,): 1}):
        assert "too many digits" in json.dumps(as_plain(value))


def test_what_is_cut_is_told() -> None:
    circle: list[Any] = [1]
    circle.append({"again": circle})
    deep: Any = 1
    for _ in range(400):
        deep = [deep]
    notes = Notes()
    assert as_plain({"circle": circle, "deep": deep, "bad": Damaged("torn")}, ("s",), notes.tell)["circle"][0] == 1
    paths = dict(notes.found)
    assert paths["s.circle[1].again"] == "it is inside itself" and paths["s.bad"] == "torn"
    assert any("deeper than" in text for text in paths.values())


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("a", ("a",)),
        ("a.b[0][-1].c d", ("a", "b", 0, -1, "c d")),
        ("['a.b'].x", ("a.b", "x")),
        ('a["it\'s"]', ("a", "it's")),
        (r"a['it\'s']", ("a", "it's")),
        ("", ()),
    ],
)
def test_paths(text: str, steps: tuple[Any, ...]) -> None:
    assert parsed(text) == steps


@pytest.mark.parametrize("text", ["a[", "a[x]", "a..b", "[1", "a]"])
def test_what_is_no_path(text: str) -> None:
    with pytest.raises(ConfigError, match="is no path"):
        parsed(text)


def test_a_step_that_leads_nowhere_is_named() -> None:
    value = {"a": [{"b": 1}]}
    assert at_path(value, ("a", 0, "b")) == at_path(value, ("a", "0", "b")) == 1
    for path, told in (
        (("a", 3), r"a\[3\]: the list has 1"),
        (("x",), "x: there are 'a'"),
        (("a", 0, "b", "c"), "b.c: "),
    ):
        with pytest.raises(PathNotFound, match=told):
            at_path(value, path)


MESSAGES: list[tuple[Any, tuple[str, str] | None]] = [
    ({"role": "developer", "content": "x"}, ("system", "x")),
    ({"type": "ai", "data": {"content": "x", "type": "ai"}}, ("ai", "x")),
    ({"lc": 1, "type": "constructor", "id": ["a", "HumanMessage"], "kwargs": {"content": "x"}}, ("human", "x")),
    ({"role": "assistant", "content": None, "tool_calls": []}, ("ai", "")),
    ({"role": "user", "content": ["a", {"type": "text", "text": "b"}]}, ("human", "ab")),
    ({"role": "critic", "content": {"score": 1}}, ("critic", '{"score": 1}')),
    ({"type": "chat", "role": "critic", "content": "x"}, ("critic", "x")),
    (("ai", "x"), ("ai", "x")),
    (("x", "y"), None),
    ({"content": "x"}, None),
    ({"type": "file", "path": "x"}, None),
    ("text", None),
    (5, None),
]


@pytest.mark.parametrize("number", range(len(MESSAGES)))
def test_messages_of_any_form(number: int) -> None:
    value, wanted = MESSAGES[number]
    turn = turn_of(value)
    assert (None if turn is None else (turn.role, turn.text)) == wanted


def test_tool_calls_of_any_form() -> None:
    openai = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
    broken = {"name": "f", "args": '{"a"', "id": "c", "error": None, "type": "invalid_tool_call"}
    forms = [
        ({"role": "assistant", "content": "", "tool_calls": [openai]}, {"a": 1}),
        (AIMessage("", additional_kwargs={"tool_calls": [openai]}), {"a": 1}),
        (AIMessage("", invalid_tool_calls=[broken]), '{"a"'),
    ]
    for message, args in forms:
        turn = turn_of(message)
        assert turn is not None and [call.as_dict() for call in turn.tool_calls] == [
            {"name": "f", "args": args, "id": "c"}
        ]


def test_lists_are_compared_by_content() -> None:
    a, b = list(range(5000)), [*range(10, 2500), "new", *range(2500, 5000), "end"]
    assert [(each.path, each.kind) for each in differences(a, b, ("n",))] == [
        ("n[0:10]", "removed"), ("n[2490]", "added"), ("n[4991]", "added"),
    ]  # fmt: skip


def test_what_is_revived_is_told_of_what_it_lost() -> None:
    with open_memory("memory://") as memory:
        saver = memory.get_langgraph_checkpointer()
        saved = checkpoint({"user": Model(key=SecretStr("hidden")), "n": 1})
        saver.put(config("t"), saved, {"source": "loop", "step": 0}, {"user": 1, "n": 1})
        view = memory.state("t")
        assert view.at("user.key") == "**********" and type(view.channels["user"].value) is Model
        memory._serde = saver.with_allowlist(()).serde
        stranger = memory.state("t")
        assert "hidden" not in json.dumps(stranger.as_dict()) and stranger.at("user.number") == 1


def test_a_serializer_of_the_programs_is_used() -> None:
    with open_memory("memory://", serde=Serializer(on_unknown="raise")) as memory:
        saver = memory.get_langgraph_checkpointer()
        saver.put(config("t"), checkpoint({"s": Spot(1, 2)}), {"source": "loop", "step": 0}, {"s": 1})
        stranger = saver.with_allowlist(())
        memory._serde = stranger.serde
        view = memory.state("t")
        assert view.at("s") == [1, 2] or view.at("s") == {"x": 1, "y": 2}
        assert [note.path for note in view.notes] == ["s"]
        with pytest.raises(CharmError):
            stranger.get_tuple(config("t"))


def test_who_wrote_what_is_found_in_many_transactions(tmp_path: Path) -> None:
    with open_memory(f"sqlite:///{tmp_path.as_posix()}/a.db") as memory:
        saver, at, log = memory.get_langgraph_checkpointer(), config("t"), []
        for number in range(60):
            log.append(f"{number} " + "x" * 100)
            at = saver.put(at, checkpoint({"log": list(log)}), {"source": "loop", "step": number}, {"log": number + 1})
        steps = 0

        def execute(step: Any) -> Any:
            nonlocal steps
            steps += 1
            if steps == 40:  # another program prunes meanwhile
                saver.prune(["t"])
            return memory.store.run(step.make, write=step.write, thread=step.thread)

        found = run(memory._blame("t", "log", None, ""), execute)
        assert steps >= 40
        assert [entry.path for entry in found][-3:] == ["log[57]", "log[58]", "log[59]"] and found[-1].step == 59
        assert [entry.is_oldest for entry in found] == [True] + [False] * (len(found) - 1) and len(found) > 10
        assert [entry.path for entry in memory.blame("t", "log")] == ["log[0:60]"]


def test_what_is_asked_for_wrongly_is_told_before_anything_is_read() -> None:
    with open_memory("memory://") as memory:
        wrong: list[Any] = [
            lambda: memory.state("t", ns=5),  # type: ignore[arg-type]
            lambda: memory.conversation("t", ns=b""),  # type: ignore[arg-type]
            lambda: memory.conversation("t", channel=5),  # type: ignore[arg-type]
            lambda: memory.diff("t", None, ns=None),  # type: ignore[arg-type]
            lambda: memory.diff("t", None, other_thread=5.5),  # type: ignore[arg-type]
            lambda: memory.blame("t", 5),  # type: ignore[arg-type]
            lambda: memory.blame("t", "n", ns=5),  # type: ignore[arg-type]
            lambda: next(memory.history("t", ns=5)),  # type: ignore[arg-type]
            lambda: next(memory.threads(status=5)),  # type: ignore[arg-type]
            lambda: memory.state("t", ""),
            lambda: memory.fork("t", to=5.5),  # type: ignore[arg-type]
        ]
        for call in wrong:
            with pytest.raises(ConfigError):
                call()

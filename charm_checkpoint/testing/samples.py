"""What the tests put into a store: records, checkpoints, awkward texts, and values of many types."""

from __future__ import annotations

import itertools
from collections import OrderedDict, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum
from hashlib import blake2b
from typing import Any, NamedTuple
from uuid import UUID

from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import Checkpoint, empty_checkpoint
from pydantic import BaseModel

from charm_checkpoint.contract import ADDRESS_SIZE, Chunk, NewCheckpoint, NewMessages
from charm_checkpoint.saver.refs import config_of
from charm_checkpoint.values.sealing import SEAL_SIZE, SEALED

TEXTS = (
    "\0",
    "a\0b",
    "a",
    "A",
    "\ud800",
    "x\udfff\ud800x",
    "\xe9",
    "e\u0301",
    ".",
    "..",
    "../../../etc/passwd",
    "/",
    "\\",
    "{}",
    "{0.__class__}",
    "%",
    "%s",
    "_",
    "a%",
    "a_",
    "*",
    "a*",
    "[a]",
    ":",
    "|",
    "a:b|c:d",
    "'; DROP TABLE checkpoint; --",
    '"',
    "\n",
    " ",
    "a ",
    "0",
    "00",
    "-1",
    "null",
    "$1",
    "?",
    "\N{PILE OF POO}\ufeff\u202e",
    "x" * 10_000,
    "\xe9" * 10_000,
)
"""Texts that naive storage confuses, cuts, changes or takes for code. No two are the same."""

NUMBERS = (0, -1, 2**31, 2**53 + 1, 2**63 - 1, -(2**63), 2**64, 2**200, -(2**200), 0.1, -0.0, 1e308, float("inf"))
"""Numbers that naive storage rounds, wraps or refuses."""


class Color(Enum):
    """An enum, as a state may hold."""

    RED = "red"


class Pair(NamedTuple):
    """A named tuple, as a state may hold."""

    left: int
    right: Any


@dataclass
class Point:
    """A dataclass, as a state may hold."""

    x: Any
    y: Any = None


class Order(BaseModel):
    """A pydantic model, as a state may hold."""

    number: int
    lines: list[Any] = []


def values() -> dict[str, Any]:
    """Return a value of each kind that a state may hold, made afresh."""
    return {
        "none": None,
        "flags": [True, False, 1, 0, 1.0],
        "numbers": list(NUMBERS),
        "texts": list(TEXTS),
        "bytes": [b"", b"\0\xff", bytearray(b"a"), b"x" * 3000],
        "nested": {"a": [{"b": ({"c": {1}}, deque([1, 2], maxlen=3))}], 1: "int key", (1, "a"): "tuple key"},
        "ordered": OrderedDict([("b", 1), ("a", 2)]),
        "times": [datetime(2026, 1, 2, 3, 4, 5, 6, timezone.utc), date(2026, 1, 2), timedelta(days=1, microseconds=1)],
        "exact": [Decimal("1.10"), UUID(int=7), 1 + 2j, frozenset({"a"})],
        "classes": [Color.RED, Pair(1, [2]), Point(1, Point(2)), Order(number=1, lines=[Point(3)])],
        "messages": chat(3),
        "long": [{"n": n, "text": f"element {n}"} for n in range(300)],
        "wide": {f"key {n}": "v" * n for n in range(100)},
        "large": ["x" * 5000, {"deep": ["y" * 5000, [b"z" * 5000]]}],
        "empty": [[], {}, (), "", set()],
    }


def chat(turns: int) -> list[Any]:
    """Return the messages of a conversation with a tool call in each turn."""
    messages: list[Any] = []
    for n in range(turns):
        call = {"name": "look", "args": {"n": n}, "id": f"call-{n}", "type": "tool_call"}
        messages += [
            HumanMessage(f"question {n}", id=f"h{n}"),
            AIMessage("", id=f"a{n}", tool_calls=[call]),
            ToolMessage(f"answer {n}", id=f"t{n}", tool_call_id=f"call-{n}", artifact={"n": (n,)}),
        ]
    return messages


def exact(value: Any) -> str:
    """Return a text that tells apart what ``==`` does not: types, 0.0 and -0.0, the order of keys."""
    return f"{type(value).__qualname__} {value!r}"


# ------------------------------------------------------------------------- checkpoints

_ids = itertools.count()


def config(thread: str = "t", ns: str = "", id: str | None = None) -> RunnableConfig:
    """Return the config that names a thread's head, or one checkpoint."""
    return config_of(thread, ns, id) if id else {"configurable": {"thread_id": thread, "checkpoint_ns": ns}}


def checkpoint(values: Mapping[str, Any] | None = None, *, id: str | None = None, version: Any = 1) -> Checkpoint:
    """Return a checkpoint with these channel values, all at one version; ids do not sort by time."""
    made = empty_checkpoint()
    made["id"] = id or f"{blake2b(str(next(_ids)).encode(), digest_size=8).hexdigest()}"
    made["channel_values"] = dict(values or {})
    made["channel_versions"] = dict.fromkeys(made["channel_values"], version)
    return made


def versions(made: Checkpoint) -> dict[str, Any]:
    """Return the versions of all channels of a checkpoint, as those that are new."""
    return dict(made["channel_versions"])


def ids(tuples: Iterable[Any]) -> list[str]:
    """Return the ids of listed checkpoints."""
    return [item.checkpoint["id"] for item in tuples]


# ----------------------------------------------------------------------------- records


def chunk(text: str, *refs: bytes) -> Chunk:
    """Return a chunk that names others; equal texts have equal addresses."""
    return Chunk(blake2b(text.encode(), digest_size=ADDRESS_SIZE).digest(), b"".join(refs), text.encode())


def new(
    id: str,
    parent: str | None = None,
    *,
    thread: str = "t",
    ns: str = "",
    body: bytes | None = None,
    chunks: Sequence[Chunk] = (),
    roots: bytes | None = None,
    **others: Any,
) -> NewCheckpoint:
    """Return a checkpoint to commit; its roots are its chunks unless given."""
    settings = {"tags": b"", "run": None, "base_sweeps": None, "seen_deletes": None, "on_conflict": "warn", **others}
    named = b"".join(piece.address for piece in chunks) if roots is None else roots
    return NewCheckpoint(
        thread, ns, id, parent, f"body of {id}".encode() if body is None else body, named, chunks=chunks, **settings
    )


def unsealed(body: bytes) -> bytes:
    """Return a body without its seal, as versions before 0.3 stored it: so it may stand for any checkpoint."""
    return bytes(body)[SEAL_SIZE:] if body[:1] == SEALED else body


def new_messages(text: str, *chunks: Chunk, thread: str = "t", **others: Any) -> NewMessages:
    """Return a message list to put; its roots are its chunks unless given."""
    roots = others.pop("roots", b"".join(piece.address for piece in chunks))
    return NewMessages(thread, text.encode(), roots, chunks, others.pop("base_sweeps", None), **others)

"""Depth: what is written can be read, by callers that are deep in calls themselves; the rest is refused."""

from __future__ import annotations

import sys
import threading
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest
from langchain_core.messages import ToolMessage
from langgraph.types import Overwrite
from pydantic import BaseModel, ConfigDict

from charm_checkpoint.errors import NotSerializable, StoreCorrupt
from charm_checkpoint.values.decoder import Decoder, decode_chunk
from charm_checkpoint.values.encoder import Encoder
from charm_checkpoint.values.known_chunks import KnownLeaves
from charm_checkpoint.values.serde import Serializer, register_type
from charm_checkpoint.values.serde.fresh_stack import is_fresh

SERDE = Serializer(on_unknown="raise")


@dataclass
class Node:
    below: Any


class Model(BaseModel):
    model_config = ConfigDict(extra="allow")

    below: Any


class Pair(NamedTuple):
    text: str
    below: Any


class Fields(dict[Any, Any]):
    pass


@register_type
class Known(list[Any]):
    pass


class Busy:
    """An object that another thread changes, ``left`` times."""

    left = 1


def _taken(busy: Busy) -> int:
    if is_fresh() and busy.left:
        busy.left -= 1
        raise RuntimeError("dictionary changed size during iteration")
    return 5


register_type(Busy, dump=_taken, load=lambda _: Busy())
BIG = "x" * 5000
WRAPS: dict[str, Callable[[Any], Any]] = {
    "list": lambda v: [v],
    "dict": lambda v: {"k": v},
    "large dict": lambda v: {"text": BIG, "k": v},
    "large list": lambda v: [BIG, v],
    "keys": lambda v: {1: v},
    "tuple": lambda v: (v,),
    "frozenset": lambda v: frozenset([v]),
    "deque": lambda v: deque([v]),
    "ordered": lambda v: OrderedDict(k=v),
    "subclass": lambda v: Fields(k=v),
    "registered": lambda v: Known([v]),
    "dataclass": Node,
    "model": lambda v: Model(below=v),
    "extra": lambda v: Model(below=1, more=v),
    "named tuple": lambda v: Pair(BIG, v),
    "message": lambda v: ToolMessage.model_construct(artifact=v),
    "overwrite": Overwrite,
}
LEVELS = [9, 60, 120, 199, 200, 230, 255, 300, 354, 2000]


def nested(wrap: Callable[[Any], Any], levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = wrap(value)
    return value


def down(frames: int, call: Callable[[], Any]) -> Any:
    """Call from so many frames below here."""
    return call() if frames == 0 else down(frames - 1, call)


def here() -> int:
    depth, frame = 0, sys._getframe()
    while frame.f_back is not None:
        depth, frame = depth + 1, frame.f_back
    return depth


def room(left: int) -> int:
    """Return how many frames down a call has so many left."""
    return sys.getrecursionlimit() - here() - left


def written(value: Any) -> Any:
    encoder = Encoder(SERDE, KnownLeaves())
    return encoder.value(value), {name: decode_chunk(chunk) for name, chunk in encoder.chunks.items()}


@pytest.mark.parametrize("wrap", WRAPS.values(), ids=WRAPS)
@pytest.mark.parametrize("left", [900, 70])
def test_what_is_written_anywhere_is_read_anywhere(wrap: Callable[[Any], Any], left: int) -> None:
    refused = []
    for levels in LEVELS:
        value = nested(wrap, levels)
        try:
            data = SERDE.dumps(value)
        except NotSerializable as exc:
            assert "nested deeper than 200 levels" in exc.reason
            refused.append(levels)
            with pytest.raises(NotSerializable):
                written([value, BIG])
            continue
        assert not refused or levels < refused[0]
        assert down(room(left), lambda value=value: SERDE.dumps(value)) == data
        found = down(room(left), lambda data=data: SERDE.loads(data))
        assert SERDE.dumps(found) == data
        if levels < 100:
            many = SERDE.loads_many(down(room(left), lambda value=value: SERDE.dumps_many([1, value])))
            assert SERDE.dumps(many[1]) == data
        entry, chunks = written(value)
        revived = down(room(left + 60), lambda entry=entry, chunks=chunks: Decoder(SERDE, chunks).value(entry))
        assert SERDE.dumps(revived) == data
    assert refused and refused[0] > 28


def test_where_no_thread_can_be_started_deep_data_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    value = nested(Node, 90)
    data = SERDE.dumps(value)

    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    for dump in (SERDE.dumps, SERDE.dumps_many):
        with pytest.raises(NotSerializable, match="nested deeper than 200 levels"):
            down(room(100), lambda dump=dump: dump([value]))  # type: ignore[misc]
    for load in (SERDE.loads, SERDE.loads_plain):
        with pytest.raises(StoreCorrupt, match="nested too deep to be read"):
            down(room(100), lambda load=load: load(data))  # type: ignore[misc]


def test_deep_data_that_changes_under_the_save_is_stored() -> None:
    value = nested(Node, 90)
    busy = value
    while isinstance(busy.below, Node):
        busy = busy.below
    busy.below = Busy()
    data = down(room(100), lambda: SERDE.dumps(value))
    assert busy.below.left == 0 and data == SERDE.dumps(value)

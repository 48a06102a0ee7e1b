"""An ordinary program: what it puts into its state has validators, factories and hooks, and is registered nowhere.

``python ordinary.py write FILE`` makes a state and stores it; ``read FILE``, in another process, looks at it.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import sys
import threading
import uuid
from pathlib import Path
from typing import Any, NamedTuple

from langchain_core.documents import Document
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, field_validator

from charm_checkpoint.values.serde import Serializer

CALLS: list[str] = []


class Mood(str, enum.Enum):
    GLAD = "glad"

    @classmethod
    def _missing_(cls, value: object) -> Any:
        CALLS.append("_missing_")
        return cls.GLAD


class Rights(enum.Flag):
    READ = 1
    WRITE = 2


class Place(BaseModel):
    model_config = ConfigDict(frozen=True)
    name: str


class Order(BaseModel):
    id: str = Field(default_factory=lambda: uuid.uuid4().hex)
    number: int = Field(alias="no")
    place: Place = Field(default_factory=lambda: Place(name="x"))
    mood: Mood = Mood.GLAD
    token: str | None = Field(None, exclude=True)
    _lock: Any = PrivateAttr(default_factory=threading.Lock)
    _seen: list[int] = PrivateAttr(default_factory=list)

    @field_validator("number")
    @classmethod
    def _double(cls, value: int) -> int:
        CALLS.append("validator")
        return value * 2

    def model_post_init(self, context: Any) -> None:
        super().model_post_init(context)
        CALLS.append("model_post_init")
        self._seen.append(self.number)

    @functools.cached_property
    def costly(self) -> int:
        return 7


@dataclasses.dataclass
class Job:
    number: int
    made: str = dataclasses.field(default_factory=lambda: uuid.uuid4().hex)
    total: int = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        CALLS.append("__post_init__")
        self.total = self.number + 1
        self.note = "beside"


@dataclasses.dataclass(frozen=True)
class Key:
    x: int
    y: Place


class Pair(NamedTuple):
    left: Any
    right: int = 1


def state() -> dict[str, Any]:
    order = Order(no=3)
    order.costly  # noqa: B018
    return {
        "messages": [HumanMessage("q", id="1"), AIMessage("a"), ToolMessage("t", tool_call_id="1", artifact=order)],
        "orders": [order, Order(no=4)],
        "job": Job(5),
        "keys": {Key(1, Place(name="a")): 1, Place(name="b"): 2, Mood.GLAD: 3, Pair(1): 4, Rights.READ | Rights(2): 5},
        "set": {Mood.GLAD, Key(2, Place(name="c"))},
        "documents": [Document("text", metadata={"order": order})],
        "classes": [Order, Mood],
    }


def check(found: dict[str, Any]) -> None:
    """Compare a state that was read with what `state` makes, as far as that is the same each time."""
    one, two = found["orders"]
    assert (one.number, two.number, one._seen, two._seen) == (6, 8, [6], [8]) and len(one.id) == len(two.id) == 32
    assert one.mood is Mood.GLAD and one.place == Place(name="x") and not one._lock.locked() and one.costly == 7
    assert (found["job"].total, found["job"].note, len(found["job"].made)) == (6, "beside", 32)
    made = state()
    assert found["keys"] == made["keys"] and found["set"] == made["set"] and found["classes"] == made["classes"]
    for again in (found["messages"][2].artifact, found["documents"][0].metadata["order"]):
        assert again.model_dump() == one.model_dump()


if __name__ == "__main__":
    import ordinary  # under its own name, as a program's module is

    step, file = sys.argv[1:]
    if step == "write":
        Path(file).write_bytes(Serializer().dumps(ordinary.state()))
    else:
        data = Path(file).read_bytes()
        ordinary.CALLS.clear()
        read = Serializer().loads(data)
        assert ordinary.CALLS == []
        ordinary.check(read)

"""A class that the program has loaded, and never meant to store, is named by what is stored.

The attacker may write to the store. No code of a class runs, but any data class that some package has loaded may come
out of a state in place of what the program expects there, with the fields of his choice.

What he gets with ``classes="registered"``: only safe types, LangChain's and LangGraph's, and classes that the program
registered come out of a store, and only these go in.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Iterator
from typing import Any

import pytest
from langchain_core.messages import HumanMessage
from pydantic import BaseModel

from attacks.forging import instance, stored
from charm_checkpoint import open_memory
from charm_checkpoint.errors import ConfigError, NotSerializable, TypeNotLoaded
from charm_checkpoint.testing.samples import checkpoint, config, versions
from charm_checkpoint.values.serde import Serializer, classes, register_type


@pytest.fixture(autouse=True)
def registry() -> Iterator[None]:
    names, registered = dict(classes._names), dict(classes._registered)
    yield
    for table, before in ((classes._names, names), (classes._registered, registered)):
        table.clear()
        table.update(before)  # type: ignore[attr-defined]
    classes._layouts.clear()


class Model(BaseModel):
    x: int = 1


@dataclasses.dataclass
class Record:
    x: int = 1


class Kind(enum.Enum):
    ONE = 1


STRICT = Serializer(classes="registered", on_unknown="raise")


@pytest.mark.parametrize("value", [Model(), Record(), Kind.ONE, Model, Kind], ids=repr)
def test_a_class_that_is_not_registered_goes_neither_in_nor_out(value: Any) -> None:
    data = Serializer().dumps({"a": [value]})
    with pytest.raises(TypeNotLoaded, match=r"^a\[0\]: .*is not on the allowlist"):
        STRICT.loads(data)
    for write in (STRICT.dumps, lambda value: STRICT.dumps_many(value["a"])):
        with pytest.raises(NotSerializable, match=r"\[0\]: .*is not registered, and classes=.registered."):
            write({"a": [value]})
    register_type(value if isinstance(value, type) else type(value))
    assert STRICT.loads(STRICT.dumps({"a": [value]})) == {"a": [value]} == STRICT.loads(data)


def test_safe_types_and_those_allowed_go_on() -> None:
    values = [HumanMessage("x", id="1"), (1, {2}), b"x", list, {"a": 1.5}]
    assert STRICT.loads(STRICT.dumps(values)) == values
    wider = STRICT.with_allowlist([Record])
    assert wider.loads(wider.dumps([Record(2)])) == [Record(2)]
    with pytest.raises(NotSerializable):
        wider.dumps([Model()])
    with pytest.raises(ConfigError, match="classes is one of loaded, registered"):
        Serializer(classes="all")  # type: ignore[arg-type]


@pytest.mark.parametrize("url", ["memory://?classes=registered", "memory://"])
def test_a_store_is_opened_so(url: str) -> None:
    options: dict[str, Any] = {} if "?" in url else {"classes": "registered"}
    with open_memory(url, on_unknown="raise", **options) as memory:
        saver = memory.get_langgraph_checkpointer()
        made = checkpoint({"rows": [Record()]}, version=1)
        with pytest.raises(NotSerializable, match=r"rows\[0\]: .*Record is not registered"):
            saver.put(config(), made, {}, versions(made))
        with pytest.raises(TypeNotLoaded):
            saver.serde.loads(stored([instance(Record, x=1)]))
        register_type(Record)
        saver.put(config(), made, {}, versions(made))
        assert saver.get(config())["channel_values"]["rows"] == [Record()]  # type: ignore[index]

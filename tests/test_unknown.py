"""An object that cannot be restored is kept: opaque, equal to itself, and written back byte for byte."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import sys
import types
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from langchain_core.messages import HumanMessage
from pydantic import BaseModel

from charm_checkpoint import Serializer, Unknown, register_type
from charm_checkpoint.errors import TypeNotLoaded
from charm_checkpoint.values.serde import classes, walk
from charm_checkpoint.values.serde.forms import COLUMNS, LIST

SERDE = Serializer()
MODULE = "soon_gone"

SOURCE = """
import dataclasses, enum
from typing import Any, NamedTuple
from pydantic import BaseModel, PrivateAttr
from pydantic import v1

class Model(BaseModel):
    x: Any = 1
    y: list = []

class Private(BaseModel, extra="allow"):
    x: Any = 1
    _seen: int = PrivateAttr(0)

class Old(v1.BaseModel):
    x: int = 1

@dataclasses.dataclass(frozen=True)
class Record:
    x: Any = 1

class Pair(NamedTuple):
    x: int
    y: Any

class Kind(enum.Enum):
    ONE = 1
    TWO = "two"

class Texts(str):
    pass
"""


@pytest.fixture
def gone() -> Iterator[Any]:
    """Make a module whose classes are there until `forget` is called."""
    module: Any = types.ModuleType(MODULE)
    sys.modules[MODULE] = module
    exec(SOURCE, module.__dict__)
    yield module
    sys.modules.pop(MODULE, None)


def forget(module: Any) -> None:
    """Take the classes of a module out of this process, as far as a stored name finds them."""
    sys.modules.pop(MODULE, None)
    for cls in [each for each in vars(module).values() if isinstance(each, type)]:
        if cls.__module__ == MODULE:
            cls.__qualname__ = f"{cls.__qualname__}_"
            cls.__module__ = "elsewhere"
    classes._layouts.clear()
    classes._names.clear()


MAKE: dict[str, Callable[[Any], Any]] = {
    "model": lambda m: m.Model(x={"deep": [(1, 2), {3}]}, y=[m.Kind.ONE]),
    "model with more": lambda m: m.Private(x=1, more=b"2"),
    "model of pydantic 1": lambda m: m.Old(x=3),
    "dataclass": lambda m: m.Record({"a": 1}),
    "named tuple": lambda m: m.Pair(1, [2.5]),
    "member": lambda m: m.Kind.TWO,
    "class": lambda m: m.Model,
    "nested": lambda m: m.Record(m.Model(x=m.Record(1))),
    "inside": lambda m: [HumanMessage("x", id="1", additional_kwargs={"a": m.Record(1)}), (m.Kind.ONE,)],
    "key": lambda m: {m.Record(1): m.Record(2), m.Kind.ONE: 1},
    "members": lambda m: [{m.Record(1), m.Record(2), 5}, frozenset({m.Kind.ONE})],
    "boxes": lambda m: [
        deque([m.Record(1)], 3),
        OrderedDict(a=m.Record(1)),
        defaultdict(list, a=[m.Kind.ONE]),
        (m.Pair(1, m.Record(2)),),
    ],
}


def unknowns(value: Any) -> list[Unknown]:
    """Return what could not be restored in a value, on all levels."""
    if type(value) is Unknown:
        return [value]
    if isinstance(value, dict):
        return [each for pair in value.items() for part in pair for each in unknowns(part)]
    if isinstance(value, HumanMessage):
        return unknowns(value.additional_kwargs)
    if isinstance(value, (list, tuple, set, frozenset, deque)):
        return [each for part in value for each in unknowns(part)]
    return []


@pytest.mark.parametrize("make", MAKE.values(), ids=MAKE)
def test_it_is_written_back_byte_for_byte(gone: Any, make: Callable[[Any], Any]) -> None:
    data = SERDE.dumps(make(gone))
    forget(gone)
    for _ in range(2):
        read = SERDE.loads(data)
        found = unknowns(read)
        assert found
        assert all(each.class_name.startswith(f"{MODULE}:") and "not loaded" in each.reason for each in found)
        assert read == SERDE.loads(data)
        for copied in (copy.deepcopy(read), pickle.loads(pickle.dumps(read)), [read][0]):
            assert SERDE.dumps(copied) == data
            assert sorted(map(hash, unknowns(copied))) == sorted(
                map(hash, found)
            )  # a set's copy may be in another order
    with pytest.raises(TypeNotLoaded, match=MODULE):
        Serializer(on_unknown="raise").loads(data)


def test_a_run_in_which_some_are_not_there(gone: Any) -> None:
    runs = [
        [HumanMessage(str(n), id=str(n)) if n % 3 else gone.Model(x=[{n}, gone.Kind.ONE]) for n in range(9)],
        [gone.Model(x=n) for n in range(4)],
        [gone.Private(x=n, more=n) for n in range(3)] + [HumanMessage("x")],
        [gone.Model(x=n) if n else 5 for n in range(3)],
        [HumanMessage("x", additional_kwargs={"a": gone.Record(1)}), HumanMessage("y")],
    ]
    stored = [SERDE.dumps_many(run) for run in runs]
    assert [data[:1] for data in stored] == [COLUMNS, COLUMNS, COLUMNS, LIST, COLUMNS]
    forget(gone)
    for data, run in zip(stored, runs, strict=True):
        read = SERDE.loads_many(data)
        assert len(read) == len(run) and unknowns(read)
        assert SERDE.dumps_many(read) == data
        assert SERDE.run(read)[1] == SERDE.run(SERDE.loads_many(data))[1]
        # What one program stored by itself and the other in a run is the same object.
        assert SERDE.loads(SERDE.dumps(read[0])) == read[0]


def test_it_comes_back_where_its_class_does(gone: Any) -> None:
    value = [gone.Model(x=1), gone.Kind.ONE, {gone.Record(1): 2}]
    data, run = SERDE.dumps(value), SERDE.dumps_many([gone.Model(x=n) for n in range(3)])
    names = {cls: (cls.__module__, cls.__qualname__) for cls in vars(gone).values() if isinstance(cls, type)}
    forget(gone)
    read, models = SERDE.loads(data), SERDE.loads_many(run)
    for cls, (module, qualname) in names.items():
        if module == MODULE:
            cls.__module__, cls.__qualname__ = module, qualname
    sys.modules[MODULE] = gone
    classes._layouts.clear()
    classes._names.clear()
    assert SERDE.loads(SERDE.dumps(read)) == value
    assert SERDE.loads_many(SERDE.dumps_many(models)) == [gone.Model(x=n) for n in range(3)]


@dataclasses.dataclass
class Order:
    id: int
    lines: list[Any] = dataclasses.field(default_factory=list)


def stored_order() -> Any:
    """Return an object of a class that is not there."""
    data = SERDE.dumps(Order(1, [(2,)]))
    return SERDE.loads(data.replace(b"test_unknown:Order", b"test_unknown:Orxer"))


USES: dict[str, Callable[[Any], Any]] = {
    "attribute": lambda o: o.id,
    "attribute or default": lambda o: getattr(o, "id", 0),
    "has attribute": lambda o: hasattr(o, "id"),
    "method": lambda o: o.model_dump(),
    "item": lambda o: o["id"],
    "set item": lambda o: o.__setitem__("id", 1),
    "set": lambda o: setattr(o, "id", 1),
    "delete": lambda o: delattr(o, "id"),
    "iterate": lambda o: list(o),
    "spread": lambda o: {**o},
    "call": lambda o: o(),
    "length": len,
    "in": lambda o: 1 in o,
    "order": lambda o: sorted([o, o]),
    "add": lambda o: o + 1,
    "add to": lambda o: sum([o]),
    "join": lambda o: [1] + o,
    "f-string": lambda o: f"{o}",
    "int": int,
    "with": lambda o: o.__enter__(),
}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_a_use_of_it_says_why(use: Callable[[Any], Any]) -> None:
    with pytest.raises(
        TypeNotLoaded, match=r"Orxer could not be restored when it was read: .*Orxer is not loaded.*Import"
    ):
        use(stored_order())


def test_it_can_be_looked_at() -> None:
    order = stored_order()
    assert order.class_name.endswith("test_unknown:Orxer")
    assert order.fields == {"id": 1, "lines": [(2,)]}
    assert repr(order) == str(order) == f"Unknown({order.class_name!r}, {{'id': 1, 'lines': [(2,)]}})"
    assert f"{[order]}" == f"[{order!r}]"
    assert order and order == stored_order() and order != Order(1, [(2,)]) and len({order, stored_order()}) == 1
    assert not isinstance(order, Order) and isinstance(order, Unknown)
    assert order._asdict() == {"unknown": order.class_name, "reason": order.reason, "fields": order.fields}
    for name in ("model_dump", "dict", "to_json", "__array__", "_repr_html_", "__len_hint__", "__fspath__"):
        assert not hasattr(order, name)
    many = SERDE.loads(SERDE.dumps(Order(1, list(range(10_000)))).replace(b"wn:Order", b"wn:Orxer"))
    assert len(repr(many)) < 700


class Strict(BaseModel):
    order: Order
    many: list[Order] = []


def test_a_model_that_is_to_take_it_names_its_class() -> None:
    with pytest.raises(ValueError, match=r"(?s)order.*instance of Order.*input_type=Unknown"):
        Strict(order=stored_order())


def test_a_class_of_another_kind_or_with_a_new_field_is_kept() -> None:
    class Thing(BaseModel):
        x: int

    data = SERDE.dumps(Thing(x=1))

    def again() -> Any:
        @dataclasses.dataclass
        class Thing:
            x: int
            new: int

        Thing.__qualname__ = Thing.__qualname__.replace(".again.<locals>", "")
        return Thing

    del Thing
    changed = again()
    register_type(changed, aliases=[SERDE.loads(data).class_name] if type(SERDE.loads(data)) is Unknown else [])
    read = SERDE.loads(data)
    assert type(read) is Unknown and read.fields == {"x": 1} and SERDE.dumps(read) == data


def test_large_objects_in_each_other_are_kept_too(gone: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    value = gone.Model(x="y" * 300)
    for n in range(12):
        value = Order(n, [value])
    data = SERDE.dumps([value, gone.Record(1)])
    forget(gone)
    monkeypatch.setattr(walk, "HELD", 400)
    read = SERDE.loads(data)
    assert type(read[0]) is Order and type(read[1]) is Unknown
    assert SERDE.dumps(read) == data
    monkeypatch.setattr(walk, "HELD", 1 << 20)
    assert SERDE.loads(data) == read

"""How the serializer finds classes: lookup, changed classes, registration, allowlists, forged names."""

from __future__ import annotations

import dataclasses
import enum
import gc
import logging
import sys
import types
import weakref
from collections.abc import Iterator
from typing import Any, Generic, NamedTuple

import ormsgpack
import pydantic
import pytest
import shapes
from langchain_core.messages import HumanMessage
from langgraph.types import Send
from pydantic import BaseModel, ConfigDict
from shapes import (
    LOCAL,
    POINT,
    Address,
    Bag,
    Box,
    Color,
    Forbid,
    Frozen,
    Open,
    Outer,
    Pair,
    Plain,
    Point,
    Slotted,
    T,
    Track,
    local,
)
from strict import same

from charm_checkpoint.errors import ConfigError, StoreCorrupt, TypeNotLoaded
from charm_checkpoint.values.serde import Serializer, classes, register_type
from charm_checkpoint.values.serde.class_reading import module_space

SERDE = Serializer(on_unknown="raise")


@pytest.fixture(autouse=True)
def registry() -> Iterator[None]:
    names, registered = dict(classes._names), dict(classes._registered)
    yield
    for table, before in ((classes._names, names), (classes._registered, registered)):
        table.clear()
        table.update(before)  # type: ignore[attr-defined]
    classes._layouts.clear()


def swap(monkeypatch: pytest.MonkeyPatch, name: str, cls: type) -> None:
    """Redefine a class of this module, as a notebook cell or a new release would."""
    cls.__qualname__ = cls.__name__ = name
    cls.__module__ = shapes.__name__
    monkeypatch.setattr(shapes, name, cls)


# -- lookup -----------------------------------------------------------------------------------------------------------


def test_the_newest_class_of_a_name_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    data, many = SERDE.dumps(Frozen(x=3)), SERDE.dumps_many([Frozen(x=3)])
    again = type("Frozen", (BaseModel,), {"__annotations__": {"x": int}, "__module__": "shapes"})
    swap(monkeypatch, "Frozen", again)
    assert type(SERDE.loads(data)) is again and type(SERDE.loads_many(many)[0]) is again
    data = SERDE.dumps(LOCAL(x=5))
    assert type(SERDE.loads(data)) is LOCAL
    box = SERDE.dumps(Box[int](item=1))
    renewed = types.new_class(
        "Box", (BaseModel, Generic[T]), {}, lambda space: space.update(__annotations__={"item": T})
    )
    swap(monkeypatch, "Box", renewed)
    assert type(SERDE.loads(box)) is renewed[int]  # type: ignore[index]
    assert type(SERDE.loads(SERDE.dumps(renewed[int](item=1)))) is renewed[int]  # type: ignore[index]
    newest = local()
    assert type(SERDE.loads(data)) is newest


def test_generic_models_of_equally_named_arguments_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    other = type("Frozen", (BaseModel,), {"__module__": "elsewhere"})
    first, second = SERDE.dumps(Box[Frozen].model_construct(item=1)), SERDE.dumps(Box[other].model_construct(item=1))
    assert first != second
    assert type(SERDE.loads(first)) is Box[Frozen] and type(SERDE.loads(second)) is Box[other]


def test_a_plan_does_not_keep_its_class_alive() -> None:
    cls = local()
    SERDE.loads(SERDE.dumps(cls()))
    ref = weakref.ref(cls)
    del cls
    gc.collect()
    assert ref() is None


def test_pydantic_v1_models() -> None:
    v1 = pytest.importorskip("pydantic.v1")
    namespace = {"__annotations__": {"x": int}, "__module__": "shapes", "__qualname__": "Old"}
    shapes.Old = type("Old", (v1.BaseModel,), namespace)  # type: ignore[attr-defined]
    old = shapes.Old(x=1)
    restored = SERDE.loads(SERDE.dumps([old]))[0]
    assert type(restored) is type(old) and restored == old and restored.__fields_set__ == {"x"}
    del shapes.Old


# -- changed classes --------------------------------------------------------------------------------------------------


def test_a_new_field_takes_its_default(monkeypatch: pytest.MonkeyPatch) -> None:
    model, point = SERDE.dumps(Frozen(x=3)), SERDE.dumps(Slotted(a=1))
    run = SERDE.dumps_many([Frozen(x=3), Frozen()])

    class NewFrozen(BaseModel):
        x: int = 1
        y: list[int] = []
        _p: int = 5

    @dataclasses.dataclass
    class NewSlotted:
        a: Any
        b: Any
        c: list[int] = dataclasses.field(default_factory=list)

    swap(monkeypatch, "Frozen", NewFrozen)
    swap(monkeypatch, "Slotted", NewSlotted)
    restored = SERDE.loads(model)
    assert (restored.x, restored.y, restored._p, restored.model_fields_set) == (3, [], 5, {"x"})
    assert [m.model_fields_set for m in SERDE.loads_many(run)] == [{"x"}, set()]
    assert SERDE.loads(point) == NewSlotted(1, None, [])


def test_a_new_field_without_default_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    model, run = SERDE.dumps({"a": [Frozen(x=3)]}), SERDE.dumps_many([Frozen(x=3)])
    point, pair = SERDE.dumps({"p": Slotted(a=1)}), SERDE.dumps(Pair(1))
    swap(monkeypatch, "Frozen", pydantic.create_model("Frozen", x=int, why=str))
    swap(monkeypatch, "Slotted", dataclasses.make_dataclass("Slotted", ["a", "b", "c"]))
    swap(monkeypatch, "Pair", NamedTuple("Pair", [("left", int), ("right", int), ("top", int)]))
    for load, data, text in (
        (SERDE.loads, model, r"^a\[0\]: shapes:Frozen has changed.*'why'"),
        (SERDE.loads_many, run, r"^\[0\]: shapes:Frozen has changed.*'why'"),
        (SERDE.loads, point, r"^p: shapes:Slotted has changed.*'c'"),
        (SERDE.loads, pair, r"^shapes:Pair has changed.*top"),
    ):
        with pytest.raises(TypeNotLoaded, match=text):
            load(data)


def test_a_field_that_went(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    opened, forbidden, point = SERDE.dumps(Open(x=1, z=2)), SERDE.dumps(Forbid(x=1)), SERDE.dumps([Point(1), Point(2)])
    swap(monkeypatch, "Open", pydantic.create_model("Open", __config__=ConfigDict(extra="allow"), y=(int, 0)))
    swap(monkeypatch, "Forbid", pydantic.create_model("Forbid", __config__=ConfigDict(extra="forbid")))
    swap(monkeypatch, "Point", dataclasses.make_dataclass("Point", ["x"]))
    assert SERDE.loads(opened).model_extra == {"x": 1, "z": 2}
    with caplog.at_level(logging.INFO, "charm_checkpoint"):
        assert vars(SERDE.loads(forbidden)) == {classes.KEPT: {"x": 1}}
        assert [p.x for p in SERDE.loads(point)] == [1, 2]
    assert [r.getMessage().partition(" any more")[0] for r in caplog.records] == [
        "shapes:Forbid does not have the stored field x",
        "shapes:Point does not have the stored field y",
        "shapes:Point does not have the stored field total",
    ]


def test_a_class_that_changed_kind_is_read_by_its_fields_or_named(monkeypatch: pytest.MonkeyPatch) -> None:
    data, other, enumerated = SERDE.dumps(Frozen()), SERDE.dumps(Open(x=1)), SERDE.dumps([Color.BLUE])
    swap(monkeypatch, "Frozen", dataclasses.make_dataclass("Frozen", ["x"]))
    swap(monkeypatch, "Open", dataclasses.make_dataclass("Open", ["y"]))
    swap(monkeypatch, "Color", enum.Enum("Color", {"RED": 1}))
    assert SERDE.loads(data).x == 1
    with pytest.raises(TypeNotLoaded, match="stored as a pydantic model and is now a dataclass or plain class: .*'y'"):
        SERDE.loads(other)
    with pytest.raises(TypeNotLoaded, match=r"^\[0\]: shapes:Color has no member 'blue'"):
        SERDE.loads(enumerated)


# -- registration -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("base", [str, int, float, bytes, tuple, list, dict, set, frozenset])
def test_registered_subclasses_of_builtins(base: type, monkeypatch: pytest.MonkeyPatch) -> None:
    cls = register_type(type("Sub", (base,), {"__module__": "shapes"}), name="sub")
    value = cls({1: 2}) if base is dict else cls("1") if base in (str, int, float) else cls(b"1")
    value.note = [1]
    restored = SERDE.loads(SERDE.dumps({"k": value}))["k"]
    assert type(restored) is cls and restored == value and restored.note == [1]
    assert SERDE.dumps(value) != SERDE.dumps(base(value))


def test_registered_plain_classes() -> None:
    register_type(name="bag")(Bag)
    register_type(Track)
    register_type(Plain)
    bag, track, plain = Bag(a=1), Track(), object.__new__(Plain)
    bag.label, bag.more, plain.x = "l", {1}, track
    restored = SERDE.loads(SERDE.dumps([bag, plain]))
    assert (restored[0], restored[0].label, restored[0].more) == ({"a": 1}, "l", {1})
    assert type(restored[1].x) is Track and not hasattr(restored[1].x, "a")
    track.a = 5
    assert SERDE.loads(SERDE.dumps(track)).a == 5


def test_a_renamed_class_revives_by_alias() -> None:
    old = pydantic.create_model("Old", __module__="app.old", x=int)
    data, run = SERDE.dumps({"u": old(x=3)}), SERDE.dumps_many([old(x=3)])
    old.__qualname__ = "Gone"
    for load, stored, path in ((SERDE.loads, data, "u"), (SERDE.loads_many, run, r"\[0\]")):
        with pytest.raises(TypeNotLoaded, match=rf"^{path}: app.old:Old is not loaded.*aliases=\['app.old:Old'\]"):
            load(stored)

    @register_type(name="app.Cold", aliases=["app.old:Old"])
    class Cold(BaseModel):
        x: int

    assert SERDE.loads(data) == {"u": Cold(x=3)} and SERDE.loads_many(run) == [Cold(x=3)]
    assert b"app.Cold" in SERDE.dumps(Cold(x=3))
    Cold.__qualname__ = "MovedAgain"
    assert SERDE.loads(SERDE.dumps(Cold(x=3))) == Cold(x=3)


def test_names_are_taken_once() -> None:
    register_type(Frozen, name="frozen")
    register_type(Frozen, name="frozen")
    with pytest.raises(ConfigError, match="'frozen' is already registered for shapes:Frozen"):
        register_type(Open, name="frozen")
    with pytest.raises(ConfigError, match="'a' is reserved"):
        register_type(Open, aliases=["a"])
    for unfit in (ValueError, type, types.FunctionType, int):
        with pytest.raises(ConfigError, match="cannot be registered"):
            register_type(unfit)
    first, second = local(), local()
    register_type(first, name="cell")
    register_type(second, name="cell")
    assert type(SERDE.loads(SERDE.dumps(second()))) is second


def test_a_class_of_the_fixed_table_can_be_subclassed() -> None:
    class Mine(HumanMessage):
        pass

    assert same(SERDE.loads_many(SERDE.dumps_many([Mine("x"), HumanMessage("x")])), [Mine("x"), HumanMessage("x")])


# -- allowlist --------------------------------------------------------------------------------------------------------


def test_an_allowlist_restricts_reading_only() -> None:
    strict = Serializer(allowed=[Address], on_unknown="raise")
    wider = strict.with_allowlist([("shapes", "Frozen"), ("shapes", "Inner"), ("shapes", "Box[int]")])
    value = {"f": [Frozen()]}
    with pytest.raises(TypeNotLoaded, match=r"^f\[0\]: shapes:Frozen is not on the allowlist"):
        strict.loads(strict.dumps(value))
    with pytest.raises(TypeNotLoaded, match=r"^\[0\]: shapes:Frozen is not on the allowlist"):
        strict.loads_many(strict.dumps_many([Frozen()]))
    for allowed in (value, Address(), Outer.Inner(x=1), Box[int](item=1), HumanMessage("x"), Send("n", {1}), int):
        assert same(wider.loads(SERDE.dumps(allowed)), allowed)
    for refused in (Color.RED, Color, Pair(1), POINT):
        with pytest.raises(TypeNotLoaded, match="allowlist"):
            wider.loads(SERDE.dumps(refused))
    register_type(Color)
    assert wider.loads(SERDE.dumps(Color.RED)) is Color.RED
    with pytest.raises(TypeNotLoaded, match="allowlist"):
        SERDE.with_allowlist([]).loads(SERDE.dumps(Frozen()))
    assert SERDE.loads(SERDE.dumps(value)) == value


# -- forged names -----------------------------------------------------------------------------------------------------

BODIES: dict[int, list[Any]] = {
    classes.MODEL: [{"x": 1}, []],
    classes.MODEL_V1: [{"x": 1}, [], {}],
    classes.OBJECT: [{"x": 1}],
    classes.ENUM: ["x"],
    classes.NAMEDTUPLE: [{"x": 1}],
    classes.SUBCLASS: ["x", {}],
}
FORGED = [
    *(
        "os:system",
        "subprocess:Popen",
        "builtins:eval",
        "builtins:exec",
        "builtins:int",
        "builtins:object",
        "pty:spawn",
    ),
    *(
        "threading:Thread",
        "antigravity:anything",
        "this:d",
        "collections:Counter",
        "a.b:C",
        "",
        ":",
        "os:",
        ":x",
        "x:y:z",
    ),
    *("os:environ.data", "shapes:USER", "shapes:Plain", "shapes:local", "nope"),
    *("shapes:Outer", "shapes:POINT.total", "unittest.mock:Mock", "os:path.join", "Box[int]"),
]


@pytest.mark.parametrize("name", FORGED)
@pytest.mark.parametrize("code", BODIES)
def test_forged_names_are_never_imported_or_called(name: str, code: int) -> None:
    forged = ormsgpack.packb([ormsgpack.Ext(code, ormsgpack.packb([name, *BODIES[code]]))])
    columns = ormsgpack.packb([[[name, []]], [0], [{"x": 1}]])
    reference = ormsgpack.packb([ormsgpack.Ext(30, name.encode())])
    before = set(sys.modules)
    with pytest.raises(TypeNotLoaded, match=r"^\[0\]: "):
        SERDE.loads(b"\x01" + forged)
    with pytest.raises(TypeNotLoaded, match=r"^\[0\]: "):
        SERDE.loads_many(b"\x03" + columns)
    if name not in classes.BUILTINS:
        with pytest.raises(TypeNotLoaded, match=r"^\[0\]: "):
            SERDE.loads(b"\x01" + reference)
    assert set(sys.modules) == before


def test_lookup_runs_no_code_of_a_module(monkeypatch: pytest.MonkeyPatch) -> None:
    class Trap(types.ModuleType):
        def __getattribute__(self, name: str) -> Any:
            raise AssertionError(name)

    monkeypatch.setitem(sys.modules, "trap", Trap("trap"))
    monkeypatch.setitem(sys.modules, "none", None)  # type: ignore[arg-type]
    for name in ("trap:Thing", "none:Thing"):
        with pytest.raises(TypeNotLoaded, match="is not loaded"):
            SERDE.loads(b"\x01" + ormsgpack.packb(ormsgpack.Ext(40, ormsgpack.packb([name, {}, []]))))


def test_a_forged_state_of_a_real_class_is_refused() -> None:
    for body in (
        ["shapes:Frozen"],
        ["shapes:Frozen", 1, 2],
        ["shapes:Frozen", {"x": []}, [[]]],
        [{}, {}, []],
    ):
        with pytest.raises((StoreCorrupt, TypeNotLoaded)):
            SERDE.loads(b"\x01" + ormsgpack.packb(ormsgpack.Ext(40, ormsgpack.packb(body))))


def test_a_forged_state_does_not_reach_past_attributes() -> None:
    other = ormsgpack.Ext(30, b"shapes:Point")
    for others in ({"__class__": other}, {"__dict__": {}}, {"__init__": 1}):
        body = ormsgpack.packb(["shapes:Slotted", {"a": 1, "b": 2}, others, []])
        with pytest.raises(TypeNotLoaded, match="has a name that Python has a meaning for"):
            SERDE.loads(b"\x01" + ormsgpack.packb(ormsgpack.Ext(classes.OBJECT, body)))


def test_what_only_says_that_it_is_a_module_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    class Pretender:
        @property  # type: ignore[misc]
        def __class__(self) -> Any:
            return types.ModuleType

    monkeypatch.setitem(sys.modules, "pretended", Pretender())  # type: ignore[arg-type]
    assert module_space("pretended") is None

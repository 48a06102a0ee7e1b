"""Objects stored before a field had another type, or their class another kind: converted, or an error that names it.

Two versions of a module stand one after the other in the place of ``shop``, as two programs would have it.
"""

from __future__ import annotations

import dataclasses
import sys
import time
import types
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel, v1

from charm_checkpoint.errors import TypeNotLoaded
from charm_checkpoint.values.serde import Serializer, classes, hooks
from charm_checkpoint.values.serde.conversion import DoesNotFit, converted, is_made_of_fields
from charm_checkpoint.values.serde.hints import read

# -- conversion by a type ---------------------------------------------------------------------------------------------


class Item(BaseModel):
    name: str
    count: int = 1


class Note(BaseModel):
    text: str


@dataclasses.dataclass
class Point:
    x: int


def make(cls: Any, fields: dict[str, Any]) -> Any:
    names = {"Item": {"name"}, "Note": {"text"}, "Point": {"x"}}[cls.__name__]
    if not names <= fields.keys():
        raise TypeNotLoaded(f"it has no {min(names)}")
    return cls(**fields)


CONVERTED: list[tuple[Any, Any, Any]] = [
    (int, 1, 1),
    (Item, {"name": "n"}, Item(name="n")),
    (Item, Item(name="n"), Item(name="n")),
    (Point, {"x": 1}, Point(1)),
    (Item | None, {"name": "n"}, Item(name="n")),
    (Item | None, None, None),
    (Item | Point, {"x": 1}, Point(1)),
    (list[Item], [{"name": "n"}, Item(name="m")], [Item(name="n"), Item(name="m")]),
    (dict[str, Item], {"a": {"name": "n"}}, {"a": Item(name="n")}),
    (tuple[int, Item], (1, {"name": "n"}), (1, Item(name="n"))),
    (tuple[Item, ...], ({"name": "n"},), (Item(name="n"),)),
    (list[Item | str], ["x", {"name": "n"}], ["x", Item(name="n")]),
    (dict[str, list[Item]], {"a": [{"name": "n"}]}, {"a": [Item(name="n")]}),
]


@pytest.mark.parametrize(("hint", "value", "expected"), CONVERTED, ids=lambda each: str(each)[:40])
def test_a_dict_becomes_an_object_of_the_class_in_its_place(hint: Any, value: Any, expected: Any) -> None:
    assert converted(read(hint), value, make) == expected


def test_what_fits_is_the_same_object() -> None:
    value = [Item(name="n")]
    assert converted(read(list[Item]), value, make) is value


@pytest.mark.parametrize(
    ("hint", "value", "place", "why"),
    [
        (int, "1", "", ""),
        (Item, {"x": 1}, "", "it has no name"),
        (Item, "n", "", ""),
        (Item | None, {"x": 1}, "", "it has no name"),
        (Item | Note, {"name": "n", "text": "t"}, "", "it could be more than one of them"),
        (list[Item], [{"name": "n"}, {}], "[1]", "it has no name"),
        (dict[str, Item], {"a": {}}, "['a']", "it has no name"),
        (dict[str, list[Item]], {"a": [{}]}, "['a'][0]", "it has no name"),
        (tuple[int, Item], ("x", {"name": "n"}), "[0]", ""),
        (list[int], (1,), "", ""),
        (set[Item], [{"name": "n"}], "", ""),
    ],
    ids=lambda each: str(each)[:40],
)
def test_what_is_not_converted_says_why(hint: Any, value: Any, place: str, why: str) -> None:
    with pytest.raises(DoesNotFit) as caught:
        converted(read(hint), value, make)
    assert (caught.value.found.place, caught.value.why) == (place, why)


def test_classes_that_are_made_of_fields() -> None:
    assert is_made_of_fields(Item)
    assert is_made_of_fields(Point)
    for cls in (int, dict, type, types.SimpleNamespace, Serializer):
        assert not is_made_of_fields(cls)


# -- deployments ------------------------------------------------------------------------------------------------------

HEAD = """
from __future__ import annotations
from collections import namedtuple
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import Enum
from typing import *
from uuid import UUID
import pydantic
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, RootModel, field_validator
from pydantic import v1
from typing_extensions import NotRequired, TypedDict
from charm_checkpoint import register_type
"""
FUTURE, NOW = HEAD, HEAD.replace("from __future__ import annotations\n", "")


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for module, name in ((hooks, "_hooks"), (hooks, "_changes"), (classes, "_registered"), (classes, "_names")):
        monkeypatch.setattr(module, name, dict(getattr(module, name)))
    classes._layouts.clear()
    yield
    sys.modules.pop("shop", None)
    classes._layouts.clear()


def program(source: str, head: str) -> dict[str, Any]:
    """Load a version of the module in the place of the one before."""
    for table in (classes._registered, classes._names, hooks._changes):
        for key in [key for key, value in list(table.items()) if "shop" in str(key) or "shop" in str(value)]:
            del table[key]  # type: ignore[attr-defined]
    module = types.ModuleType("shop")
    sys.modules["shop"] = module
    exec(head + source, module.__dict__)
    return module.__dict__


def deployed(before: str, after: str, value: str, head: str = NOW) -> Iterator[tuple[Any, dict[str, Any]]]:
    """Store a value by one version, and yield what another one reads, in every way that values are read."""
    shop = program(before, head)
    stored = eval(value, shop)
    deep: Any = stored
    for _ in range(12):
        deep = [deep]  # too deep for the quick way
    single, nested = SERDE.dumps([stored, 1]), SERDE.dumps(deep)
    run = SERDE.dumps_many([stored, stored])
    del stored, deep, shop
    shop = program(after, head)
    yield SERDE.loads(single)[0], shop
    found = SERDE.loads(nested)
    for _ in range(12):
        found = found[0]
    yield found, shop
    yield from ((each, shop) for each in SERDE.loads_many(run))


SERDE = Serializer(on_unknown="raise")


def model(fields: str, name: str = "A") -> str:
    return source(f"class {name}(BaseModel)", fields)


def data(fields: str, name: str = "A") -> str:
    return source(f"@dataclass\nclass {name}", fields)


def slotted(fields: str, name: str = "A") -> str:
    return source(f"@dataclass(slots=True, frozen=True)\nclass {name}", fields)


def both(fields: str, name: str = "A") -> str:
    return source(f"@pydantic.dataclasses.dataclass\nclass {name}", fields)


def named(fields: str, name: str = "A") -> str:
    return source(f"class {name}(NamedTuple)", fields)


def old(fields: str, name: str = "A") -> str:
    return source(f"class {name}(v1.BaseModel)", fields)


def typed(fields: str, name: str = "A") -> str:
    return source(f"class {name}(TypedDict)", fields)


def source(head: str, fields: str) -> str:
    return "\n    ".join([f"{head}:", *fields.split("; ")]) + "\n"


ENUM = "class E(Enum):\n    A = 'a'\n"
KEEPS = "model_config = ConfigDict(use_enum_values=True)"
UP = "def up(fields): return {'x': int(fields['x'])}\n@register_type(upgrade=up)\n"
XY = "x: int; y: str = 'a'"

CHANGED: list[tuple[str, str, str, str]] = [
    # before, after, what was stored, what is read
    (model("x: int"), model("x: float"), "A(x=1)", "A.model_construct(x=1)"),
    (model("x: int"), model("x: Optional[int] = None"), "A(x=1)", "A(x=1)"),
    (model("x: Optional[int]"), model("x: int"), "A(x=1)", "A(x=1)"),
    (model("x: int"), model("x: Union[str, int]"), "A(x=1)", "A(x=1)"),
    (model("x: str"), model("x: Literal['a', 'b']"), "A(x='a')", "A(x='a')"),
    (model("x: list"), model("x: List[int]"), "A(x=[1])", "A(x=[1])"),
    (model("x: str = ''"), model("x: int = None"), "A.model_construct(x=None)", "A.model_construct(x=None)"),
    (model("x: str = ''"), model("x: dict = Field(default_factory=list)"), "A.model_construct(x=[])", "A()"),
    (model("x: str"), model("x: int; _v = field_validator('x')(lambda v: str(v))"), "A(x='1')", "A(x=1)"),
    (model("x: str"), model("x: Annotated[int, AfterValidator(str)]"), "A(x='1')", "A(x=1)"),
    (ENUM + model("x: str"), ENUM + model(f"{KEEPS}; x: E"), "A(x='a')", "A(x='a')"),
    # a dict where a class is now
    (model("x: dict"), model("y: int", "B") + model("x: B"), "A(x={'y': 1})", "A(x=B(y=1))"),
    (model("x: Any"), model("y: int", "B") + model("x: Optional[B]"), "A(x={'y': 1})", "A(x=B(y=1))"),
    (model("x: List[Dict]"), data("y: int", "B") + model("x: List[B]"), "A(x=[{'y': 1}])", "A(x=[B(y=1)])"),
    (data("x: dict"), named("y: int", "B") + data("x: B"), "A(x={'y': 1})", "A(x=B(y=1))"),
    (named("x: dict"), old("y: int", "B") + named("x: B"), "A(x={'y': 1})", "A(x=B(y=1))"),
    (typed("y: int", "T") + model("x: T"), model("y: int", "B") + model("x: B"), "A(x={'y': 1})", "A(x=B(y=1))"),
    (model("x: dict"), model("z: str", "C") + model("y: C; w: int = 2", "B") + model("x: B"),
     "A(x={'y': {'z': 's'}})", "A(x=B(y=C(z='s')))"),
    (typed("y: int", "B") + model("x: B"), model("y: int", "B") + model("x: B"), "A(x={'y': 1})", "A(x=B(y=1))"),
    (typed("y: int", "B") + model("x: List[B]"), data("y: int", "B") + model("x: List[B]"), "A(x=[{'y': 1}])",
     "A(x=[B(y=1)])"),
    (model("x: dict"), UP + model("x: int", "B") + model("y: B = Field(alias='x')"), "A(x={'x': '1'})",
     "A(x=B(x=1))"),
    # the class is of another kind
    *((before(XY), after(XY), "A(x=1, y='b')", "A(x=1, y='b')")
      for before in (model, data, slotted, both, named, old)
      for after in (model, data, slotted, both, named, old, typed)),
    (model("x: int"), data("z: int = field(default=2); x: int = 0"), "A(x=1)", "A(x=1)"),
    (data("x: int"), model("x: float; y: List[int] = []"), "A(x=1)", "A.model_construct({'x'}, x=1, y=[])"),
    (model("y: int", "B") + model("x: B"), typed("y: int", "B") + typed("x: B"), "A(x=B(y=1))", "{'x': {'y': 1}}"),
    (model("x: dict"), model("y: int", "B") + typed("x: B"), "A(x={'y': 1})", "{'x': B(y=1)}"),
    (model("x: int"), typed("x: int; y: NotRequired[int]"), "A(x=1)", "{'x': 1}"),
    (data("x: int"), model("z: int = Field(validation_alias='x')"), "A(x=1)", "A(x=1)"),
    (model("x: int = 0; y: int = 0"), old("x: int = 0; y: int = 0"), "A(x=1)", "A(x=1)"),
    # what the program said
    (data("x: str"), UP + model("x: int"), "A(x='1')", "A(x=1)"),
    (data("x: str; gone: int = 0"), UP + named("x: int"), "A(x='1')", "A(x=1)"),
    (model("x: str"), UP + model("x: int"), "A(x='1')", "A(x=1)"),
    (model("x: str"), "@register_type(validate=True)\n" + model("x: int"), "A(x='1')", "A(x=1)"),
    (data("x: str"), "@register_type(validate=True)\n" + model("x: int"), "A(x='1')", "A(x=1)"),
    *((data("x: str"), "@register_type(validate=True)\n" + made, "A(x='1')", "A(x=1)")
      for made in (both("x: int"), data("x: int") + "\n    def __post_init__(self): self.x = int(self.x)")),
]  # fmt: skip


@pytest.mark.parametrize("head", [FUTURE, NOW], ids=["text", "types"])
@pytest.mark.parametrize(("before", "after", "value", "expected"), CHANGED, ids=lambda each: each[:60])
def test_what_still_fits_is_read(before: str, after: str, value: str, expected: str, head: str) -> None:
    if head is FUTURE and "TypedDict" in after and sys.version_info < (3, 11):
        return
    for found, shop in deployed(before, after, value, head):
        wanted = eval(expected, shop)
        assert found == wanted
        assert type(found) is type(wanted)
        if isinstance(wanted, (BaseModel, v1.BaseModel)):
            assert vars(found) == vars(wanted)
            assert all(type(vars(found)[name]) is type(each) for name, each in vars(wanted).items())
            assert SERDE.loads(SERDE.dumps(found)) == wanted


REFUSED: list[tuple[str, str, str, str]] = [
    *((kind("x: str"), kind("x: int"), "A(x='1')", "shop:A.x is int now, and a str is stored. Say what becomes of it: ")
      for kind in (model, data, slotted, both, named, old)),
    (model("x: str"), ENUM + model("x: E"), "A(x='a')", "shop:A.x is E now, and a str is stored"),
    (model("x: Optional[int] = None"), model("x: int = 0"), "A()", "shop:A.x is int now, and None is stored"),
    ("U = NewType('U', str)\n" + model("x: U"), "U = NewType('U', int)\n" + model("x: U"), "A(x='1')",
     "shop:A.x is int now, and a str is stored"),
    (model("x: Literal['a', 'b']"), model("x: Literal['a']"), "A(x='b')", "x is Literal['a'] now, and 'b' is stored"),
    (model("x: List[str]"), model("x: List[int]"), "A(x=['1'])", "x is list[int] now, and a str is stored at [0]"),
    (model("x: str"), model("x: datetime"), "A(x='1')", "shop:A.x is datetime now, and a str is stored"),
    (model("x: float"), model("x: Decimal"), "A(x=1)", "shop:A.x is Decimal now, and a float is stored"),
    (model("x: dict"), model("y: int", "B") + model("x: B"), "A(x={'y': 's'})",
     "shop:A.x is B now, and a dict is stored, of which none can be made: shop:B.y is int now, and a str is stored"),
    (model("x: dict"), model("y: int", "B") + model("x: B"), "A(x={'z': 1})", "nothing is stored for its field 'y'"),
    (model("x: dict"), model("y: int", "B") + model("x: B"), "A(x={})", "nothing is stored for its field 'y'"),
    (model("x: dict"), "class B(RootModel[Dict[str, int]]): ...\n" + model("x: B"), "A(x={'root': 1})", "x is B now"),
    (model("x: int"), data("y: int = 0"), "A(x=1)",
     "shop:A was stored as a pydantic model and is now a dataclass or plain class: it does not have the stored x"),
    (model("x: int"), data("x: str"), "A(x=1)", "shop:A.x is str now, and an int is stored"),
    (model("x: int"), data("x: int; y: int"), "A(x=1)", "nothing is stored for its field 'y'"),
    (model("x: int"), typed("x: int; y: int"), "A(x=1)",
     "shop:A was stored as a pydantic model and is now a TypedDict: nothing is stored for its key 'y'"),
    (model("x: int"), typed("x: str"), "A(x=1)", "its key 'x' is str now, and an int is stored"),
    (model("x: int"), typed("y: NotRequired[int]"), "A(x=1)", "it does not have the stored key x"),
    # a constructor that was to validate, and takes anything
    *((before("x: str"), "@register_type(validate=True)\n" + after("x: int"), "A(x='1')",
       "shop:A.x is int now, and a str is stored")
      for before in (model, data, named) for after in (data, slotted, named)),
    (ENUM, model("x: int = 0", "E"), "E.A", "shop:E was stored as an enum and is now a pydantic model."),
    (model("x: int = 0", "E"), ENUM, "E()", "shop:E was stored as a pydantic model and is now an enum."),
    (model("x: int = 0"), "class A:\n    x: int = 0", "A()", "is not a data class"),
]  # fmt: skip


@pytest.mark.parametrize(("before", "after", "value", "told"), REFUSED, ids=lambda each: each[:60])
def test_what_does_not_fit_is_an_error_that_names_it(before: str, after: str, value: str, told: str) -> None:
    with pytest.raises(TypeNotLoaded) as caught:
        list(deployed(before, after, value))
    assert told in str(caught.value)


def test_an_unchanged_class_is_not_compared() -> None:
    source = "class A(BaseModel): x: int\n@dataclass\nclass B:\n    x: int"
    for value in ("A.model_construct(x='text')", "B(x='text')"):
        for found, _ in deployed(source, source, value):
            assert found.x == "text"


def test_only_fields_that_changed_are_compared() -> None:
    before, after = "@dataclass\nclass A:\n    x: int\n    y: int", "@dataclass\nclass A:\n    x: int\n    y: float"
    for found, _ in deployed(before, after, "A(x='text', y=1)"):
        assert found.x == "text"


def test_a_class_that_may_not_be_restored_is_made_of_no_dict() -> None:
    shop = program("@register_type\nclass A(BaseModel): x: dict", NOW)
    data = SERDE.dumps(shop["A"](x={"y": 1}))
    after = "class B(BaseModel): y: int\n@register_type\nclass A(BaseModel): x: B"
    shop = program(after, NOW)
    assert SERDE.loads(data).x == shop["B"](y=1)
    with pytest.raises(TypeNotLoaded, match="shop:B is not on the allowlist"):
        Serializer(classes="registered", on_unknown="raise").loads(data)


def test_what_was_converted_is_told() -> None:
    shop = program("class A(BaseModel): x: dict\nclass K(BaseModel): x: int", NOW)
    data = SERDE.dumps([shop["A"](x={"y": 1}), shop["K"](x=1)])
    program("class B(BaseModel): y: int\nclass A(BaseModel): x: B\n@dataclass\nclass K:\n    x: int", NOW)
    found: list[Any] = []
    SERDE.telling(found.append).loads(data)
    assert [each[:3] for each in found] == [("changed", "shop:A", "x"), ("changed", "shop:K", "")]


def test_fields_set_and_private_attributes_go_along() -> None:
    before = "class A(BaseModel):\n    x: int = 0\n    y: int = 0\n    _p: int = 1"
    for found, _ in deployed(before, before.replace("(BaseModel)", "(v1.BaseModel)"), "A(x=1)"):
        assert (found.__fields_set__, found._p) == ({"x"}, 1)


def test_no_code_of_a_class_runs() -> None:
    before = model("x: dict") + data("y: int", "K")
    fails = "; def fail(self, *args): raise AssertionError; model_post_init = __post_init__ = __init__ = __new__ = fail"
    checked = "; _v = field_validator('*', mode='before')(classmethod(lambda cls, value: 1 / 0))"
    after = model(f"y: int{fails}{checked}", "B") + model(f"x: B{fails}{checked}") + model(f"y: int{fails}", "K")
    for found, shop in deployed(before, after, "[A(x={'y': 1}), K(y=1)]"):
        assert [type(each) for each in found] == [shop["A"], shop["K"]]
        assert (type(found[0].x), found[0].x.y, found[1].y) == (shop["B"], 1, 1)


TREES = model("of: 'Optional[Union[Sum, Product]]' = None", "Sum") + model(
    "factor: int; of: 'Optional[Union[Sum, Product]]' = None", "Product"
)


@pytest.mark.parametrize("end", ["", ", 'other': 1"])
def test_trying_what_a_dict_could_be_on_each_level_takes_a_moment(end: str) -> None:
    value = "{'factor': 1, 'of': " * 40 + "{'factor': 2" + end + "}" + "}" * 40
    resolved = "Sum.model_rebuild(); Product.model_rebuild()\n"
    before, after = TREES + resolved + model("x: dict"), TREES + resolved + model("x: Union[Sum, Product]")
    begin = time.monotonic()
    try:
        found, _ = next(deployed(before, after, f"A(x={value})", NOW))
        assert not end
        assert found.x.of.of.factor == 1
    except TypeNotLoaded as error:
        assert end
        assert "A.x is Sum | Product now" in str(error)
    assert time.monotonic() - begin < 20

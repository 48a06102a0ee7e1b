"""Living classes of one name are told apart by their shapes; members of enums come back by name and value."""

from __future__ import annotations

import enum
import gc
import itertools
import logging
import subprocess
import sys
import types
import weakref
from collections import namedtuple
from collections.abc import Callable, Iterator
from dataclasses import make_dataclass
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, Optional, TypeVar, Union

import ormsgpack
import pytest
from pydantic import BaseModel, create_model
from shapes import Address, Box, Color, Pair, Point
from strict import same

from charm_checkpoint import open_memory
from charm_checkpoint.errors import TypeNotLoaded
from charm_checkpoint.testing.samples import checkpoint, config, versions
from charm_checkpoint.values.serde import Serializer, class_lookup, classes, register_type, telling
from charm_checkpoint.values.serde.class_shapes import type_text
from charm_checkpoint.values.serde.stored_names import split_mark

SERDE = Serializer(on_unknown="raise")
T = TypeVar("T")


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let nothing of a test live on into the next, and every warning be new."""
    gc.collect()
    monkeypatch.setattr(telling, "_told", type(telling._told)())
    names, registered = dict(classes._names), dict(classes._registered)
    yield
    for table, before in ((classes._names, names), (classes._registered, registered)):
        table.clear()
        table.update(before)  # type: ignore[attr-defined]
    classes._layouts.clear()


def choice(*members: str, base: Any = enum.Enum) -> Any:
    return base("Choice", list(members), module=__name__)


def answer(**fields: Any) -> Any:
    return create_model("Answer", __module__=__name__, **fields)


def reading(value: Any) -> Any:
    """Return what a value comes back as, wherever it stands."""
    found = SERDE.loads(SERDE.dumps(value))
    for wrapped, unwrap in (
        ([value], lambda v: v[0]),
        ({"k": (value,)}, lambda v: v["k"][0]),
        (Address.model_construct(when=value), lambda v: v.when),
    ):
        assert same(unwrap(SERDE.loads(SERDE.dumps(wrapped))), found)
    assert all(same(each, found) for each in SERDE.loads_many(SERDE.dumps_many([value, value])))
    return found


def stored(kind: int, *body: Any) -> bytes:
    """Return a value of a class as an earlier version stored it: without a mark, and enums without a name."""
    return b"\x01" + ormsgpack.packb(ormsgpack.Ext(kind, ormsgpack.packb(list(body))))


# -- living classes of one name ---------------------------------------------------------------------------------------


def test_members_of_enums_of_one_name() -> None:
    first, second, third = choice("RED", "GREEN"), choice("GREEN", "RED"), choice("BLUE", base=enum.IntEnum)
    for member in (*first, *second, *third, *first):
        assert reading(member) is member
        assert same(SERDE.loads(SERDE.dumps({member: 1})), {member: 1})
    for cls in (first, second, third):
        assert SERDE.loads(SERDE.dumps(cls)) is cls


MAKERS: list[Callable[[], list[Any]]] = [
    lambda: [answer(x=(int, ...))(x=1), answer(x=(int, ...), y=(str, ""))(x=1), answer(x=(str, ...))(x="1")],
    lambda: [answer(x=(int, 1))(x=1), answer(x=(int | None, 1))(x=1), answer(x=(list[int], []))()],
    lambda: [make_dataclass("Data", names, namespace={"__module__": __name__})(1, 2) for names in (["a", "b"], "ba")],
    lambda: [namedtuple("Two", names, module=__name__)(1, 2) for names in ("a b", "b a")],  # type: ignore[misc]
    lambda: [choice("A").A, answer(A=(int, 1))(), enum.Flag("Answer", "A B", module=__name__)(3)],
    lambda: [Box[answer(x=(int, 1))](item={}), Box[answer(x=(str, ""))](item={})],  # type: ignore[misc]
]


@pytest.mark.parametrize("make", MAKERS)
def test_instances_of_classes_of_one_name(make: Callable[[], list[Any]]) -> None:
    values = make()
    for value in (*values, *values[::-1]):
        found = reading(value)
        assert type(found) is type(value) and found == value
    assert [type(found) for found in SERDE.loads_many(SERDE.dumps_many(values))] == list(map(type, values))


def test_of_equal_shapes_the_newest_is_taken() -> None:
    for make in (lambda: choice("A", "B").A, lambda: answer(x=(int, 1))()):
        values = [make() for _ in range(3)]
        assert [type(reading(value)) for value in values] == [type(values[-1])] * 3


CELL = "from pydantic import BaseModel\nfrom enum import Enum\nclass Answer(BaseModel):\n    x: int = 1\n"
WIDER = CELL + "    y: int\n"
COLORS = "from enum import Enum\nclass Color(Enum):\n    RED = 1\n    GREEN = 2\n"
TURNED = "from enum import Enum\nclass Color(Enum):\n    GREEN = 1\n    RED = 2\n"


@pytest.fixture
def cell(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], types.ModuleType]:
    """Return a function that runs source text in one and the same module, as a notebook does."""
    module = types.ModuleType("notebook")
    monkeypatch.setitem(sys.modules, "notebook", module)

    def run(source: str) -> types.ModuleType:
        exec(source, module.__dict__)
        return module

    return run


def test_a_cell_that_is_run_again_takes_over_what_it_made(cell: Callable[[str], types.ModuleType]) -> None:
    old, color = cell(CELL).Answer(x=2), cell(COLORS).Color.RED
    before = [SERDE.dumps(old), SERDE.dumps(color)]
    new, colors = cell(CELL).Answer, cell(COLORS).Color
    for data in (*before, SERDE.dumps(old), SERDE.dumps(color)):
        assert type(SERDE.loads(data)) in (new, colors)
    assert (SERDE.loads(before[0]).x, SERDE.loads(before[1])) == (2, colors.RED)


def test_a_cell_that_is_run_again_with_a_change(cell: Callable[[str], types.ModuleType]) -> None:
    old, color = cell(CELL).Answer(x=2), cell(COLORS).Color.RED
    plain = SERDE.dumps(color)
    new, turned = cell(WIDER).Answer, cell(TURNED).Color
    assert same(reading(old), old) and reading(color) is color
    assert same(reading(new(x=1, y=2)), new(x=1, y=2)) and reading(turned.RED) is turned.RED
    marked = [SERDE.dumps(old), SERDE.dumps(color)]
    del old, color
    gc.collect()
    with pytest.raises(TypeNotLoaded, match="notebook:Answer has changed.*'y'"):
        SERDE.loads(marked[0])
    assert SERDE.loads(marked[1]) is SERDE.loads(plain) is turned.RED


def test_a_module_that_is_loaded_again_takes_over_its_names(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    for source in (CELL, WIDER.replace("y: int", "y: str = 'made up'")):
        module = types.ModuleType("reloaded")
        monkeypatch.setitem(sys.modules, "reloaded", module)
        exec(source, module.__dict__)
        made.append(module.Answer(x=2))
        assert b"#" not in SERDE.dumps(made[-1])
    old, new = made
    assert same(reading(old), old) and same(reading(new), new)
    assert b"#" in SERDE.dumps(old) and b"#" not in SERDE.dumps(new)


def test_nothing_of_a_module_that_is_gone_is_kept_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    module: Any = types.ModuleType("passing")
    monkeypatch.setitem(sys.modules, "passing", module)
    exec(CELL + COLORS, module.__dict__)
    module.large = answer()
    kept = [weakref.ref(cls) for cls in (module.Answer, module.Color, module.large)]
    SERDE.loads(SERDE.dumps([module.Answer(), module.Color.RED]))
    SERDE.loads_many(SERDE.dumps_many([module.Answer()]))
    del sys.modules["passing"]
    del module
    gc.collect()
    assert [ref() for ref in kept] == [None] * 3


class _Lodger(type(BaseModel)):  # type: ignore[misc]
    """Classes that have one hash, as a class has the hash of a dead one at whose address it is made."""

    def __hash__(cls) -> int:
        return 7


class Lodger(BaseModel, metaclass=_Lodger):
    x: int


@pytest.fixture
def saved() -> Iterator[Callable[[list[Any]], list[Any]]]:
    """Yield a function that saves rows in place of those before, and returns what is read."""
    with open_memory("memory://") as memory:
        saver, version = memory.get_langgraph_checkpointer(), itertools.count(1)

        def save(rows: list[Any]) -> list[Any]:
            made = checkpoint({"rows": rows}, version=next(version))
            where = saver.put(config(), made, {}, versions(made))
            found: list[Any] = saver.get(where)["channel_values"]["rows"]  # type: ignore[index]
            return found

        yield save


@pytest.mark.filterwarnings("ignore")
def test_a_leaf_of_a_class_that_is_gone_is_not_taken_for_that_of_another(
    saved: Callable[[Any], list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(classes, "needs_vouching", lambda cls: "")  # a hash of a metaclass's own is refused
    for name in ("Before", "After"):
        cls = create_model(name, __base__=Lodger)
        assert {type(row) for row in saved([cls(x=n) for n in range(100)])} == {cls}
        del cls
        gc.collect()


def test_what_is_saved_after_a_class_got_a_name_has_that_name(saved: Callable[[Any], list[Any]]) -> None:
    cls = answer(x=(int, 1))
    rows = [cls(x=n) for n in range(100)]
    saved(rows)
    register_type(cls, name="renamed")
    assert {type(row) for row in saved(rows)} == {cls}  # their former name no longer finds the class


def test_a_lone_class_is_never_refused_for_its_shape() -> None:
    one, two = answer(x=(int, 1)), answer(x=(int, 1), y=(int, 5))
    data, many = SERDE.dumps(one(x=3)), SERDE.dumps_many([one(x=3)])
    assert type(SERDE.loads(data)) is one
    del one
    gc.collect()
    for found in (SERDE.loads(data), SERDE.loads_many(many)[0]):
        assert type(found) is two and (found.x, found.y) == (3, 5)
    other = answer(x=(int, 1), y=(int, 5))  # of the same shape, so there is no doubt
    assert type(SERDE.loads(data)) is other


def test_where_no_shape_is_the_one_the_fields_decide_or_it_is_refused() -> None:
    gone = answer(x=(int, 1))
    data, many = SERDE.dumps({"k": gone(x=3)}), SERDE.dumps_many([gone(x=3)])
    del gone
    gc.collect()
    fits, wide = answer(x=(float, 1)), answer(x=(int, 1), y=(int, 2))
    assert type(SERDE.loads(data)["k"]) is type(SERDE.loads_many(many)[0]) is fits
    del fits
    gc.collect()
    wider = answer(x=(int, 1), y=(int, 2), z=(int, 3))
    for load, path in ((lambda: SERDE.loads(data), "k"), (lambda: SERDE.loads_many(many), r"\[0\]")):
        with pytest.raises(TypeNotLoaded, match=rf"^{path}: test_serde_shapes:Answer is the name of several classes"):
            load()
    register_type(wide, name="wide", aliases=[f"{__name__}:Answer"])
    assert type(SERDE.loads(data)["k"]) is wide and type(reading(wider(x=1))) is wide


def test_what_earlier_versions_stored_goes_to_the_class_it_fits() -> None:
    name = f"{__name__}:Choice"
    first, second = choice("RED", "GREEN", "BLUE"), choice("GREEN", "RED")
    assert SERDE.loads(stored(classes.ENUM, name, 3)) is first.BLUE
    for value in (1, 2):
        with pytest.raises(TypeNotLoaded, match="is the name of several classes"):
            SERDE.loads(stored(classes.ENUM, name, value))
    assert SERDE.loads(stored(classes.ENUM, name, None, "RED")) in (first.RED, second.RED)
    one, two = answer(x=(int, 1)), answer(y=(int, 1))
    for cls, field in ((one, "x"), (two, "y")):
        assert type(SERDE.loads(stored(classes.MODEL, f"{__name__}:Answer", {field: 1}, [field]))) is cls
    with pytest.raises(TypeNotLoaded, match="is the name of several classes"):
        SERDE.loads(stored(classes.MODEL, f"{__name__}:Answer", {"z": 1}, ["z"]))


def test_another_process_that_has_one_of_the_classes_reads_it() -> None:
    code = (
        "import enum, sys; from pydantic import create_model; from charm_checkpoint import Serializer as S\n"
        "A = create_model('Answer', __module__='app', x=(int | None, 1), y=(dict[str, list['A']], {}))\n"
        "C = enum.Enum('Choice', 'RED GREEN', module='app')\n"
        "if len(sys.argv) == 1: sys.exit(print(S().dumps([A(x=2), C.RED]).hex()))\n"
        "B = create_model('Answer', __module__='app', x=(int, 1))\n"
        "D = enum.Enum('Choice', 'GREEN RED', module='app')\n"
        "a, c = S().loads(bytes.fromhex(sys.argv[1]))\n"
        "print(type(a) is A, c is C.RED)"
    )

    def run(*args: str) -> str:
        command = [sys.executable, "-c", code, *args]
        env = {"PYTHONPATH": ":".join(sys.path)}
        return subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout.strip()

    assert run(run()) == "True True"


def test_what_is_stored_of_a_shape_never_changes() -> None:
    choice = enum.Enum("Choice", "RED GREEN", module="app")
    flags = enum.Flag("Perm", "R W", module="app")
    fields = {"x": (int | None, 1), "y": (dict[str, list[Any]], {}), "z": (Literal["a"], "a"), "p": (Path | None, None)}
    model: Any = create_model("Answer", __module__="app", **fields)  # type: ignore[call-overload]
    for value, data in (
        (choice.RED, b"\x01\xc7\x1a+\x93\xb3app:Choice#a7dcbbf7\x01\xa3RED"),
        (flags(3), b"\x01\xc7\x18+\x93\xb1app:Perm#b2852943\x03\xa3R|W"),
        (model(), b"\x01\xc72(\x93\xd9 app:Answer#5b55cc05@lmsx7NyeZUtQ\x84\xa1x\x01\xa1y\x80\xa1z\xa1a\xa1p\xc0\x90"),
    ):
        assert SERDE.dumps(value) == data and same(SERDE.loads(data), value)


def test_a_class_that_its_module_holds_has_no_mark() -> None:
    for value in (Address(), Color.RED, Pair(1), Point(1), Box[int](item=1), Address):
        assert b"#" not in SERDE.dumps(value)
    assert b"#" in SERDE.dumps(answer()()) and split_mark("a:B#0123abcd") == ("a:B", "#0123abcd")
    assert [split_mark(name) for name in ("a:B#c", "a:B")] == [("a:B#c", ""), ("a:B", "")]


def test_an_allowlist_names_no_marks() -> None:
    value = answer(x=(int, 1))()
    for allowed in ([type(value)], [(__name__, "Answer")]):
        assert same(Serializer(allowed=allowed, on_unknown="raise").loads(SERDE.dumps(value)), value)
    with pytest.raises(TypeNotLoaded, match=r"test_serde_shapes:Answer is not on the allowlist"):
        Serializer(allowed=(), on_unknown="raise").loads(SERDE.dumps(value))


def test_all_classes_are_searched_once_for_a_shape_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = answer(x=(int, 1)), answer(x=(int, 1), y=(int, 5))
    data = SERDE.dumps(one(x=3))
    del one
    gc.collect()
    assert type(SERDE.loads(data)) is two
    monkeypatch.setattr(class_lookup, "_all_classes", lambda: pytest.fail("searched again"))
    assert type(SERDE.loads(data)) is two


def test_types_are_written_in_one_way() -> None:
    class Deep(BaseModel, Generic[T]):
        pass

    assert type_text(Optional[int]) == type_text(Union[None, int]) == type_text(int | None)  # noqa: UP007, UP045
    assert type_text(Annotated[int, lambda: 0]) == "int"
    assert type_text(Literal["a", Color.RED]) == "Literal['a',Color.RED]"
    assert type_text(dict[str, list[T]]) == "dict[str,list[T]]"
    assert type_text(Callable[[int], str]) == "Callable[int,str]"
    assert type_text("Later") == "Later" and type_text(lambda: 0) == "function"
    assert type_text(Deep[int]).endswith("Deep[int]")


# -- enums that changed -----------------------------------------------------------------------------------------------


def changed(before: Any, after: dict[str, Any], value: Any, base: Any = enum.Enum) -> tuple[Any, Any]:
    """Return what a member reads as once its enum is another, and that enum."""
    data = SERDE.dumps(base("Changing", before, module=__name__)(value))
    gc.collect()
    now = base("Changing", after, module=__name__)
    return SERDE.loads(data), now


@pytest.mark.parametrize(
    ("before", "after", "value", "expected", "told"),
    [
        ({"RED": 1, "GREEN": 2}, {"RED": 1, "BLUE": 3}, 1, "RED", False),
        ({"RED": 1, "GREEN": 2}, {"GREEN": 1, "RED": 2}, 1, "RED", True),
        ({"RED": 1, "GREEN": 2}, {"NEW": 1, "RED": 2, "GREEN": 3}, 2, "GREEN", True),
        ({"RED": 1}, {"CRIMSON": 1}, 1, "CRIMSON", True),
        ({"RED": "red"}, {"RED": "Red"}, "red", "RED", True),
        ({"RED": (1, [])}, {"RED": (2, [])}, (1, []), "RED", False),
        ({"ZERO": 0}, {"ONE": 0, "ZERO": 1}, 0, "ZERO", True),
    ],
)
def test_a_member_is_read_by_name_and_then_by_value(
    before: Any, after: Any, value: Any, expected: str, told: bool, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "charm_checkpoint"):
        found, now = changed(before, after, value)
    assert found is now[expected]
    assert ["Changing" in record.getMessage() for record in caplog.records] == [True] * told


def test_a_member_that_is_gone_is_refused() -> None:
    with pytest.raises(TypeNotLoaded, match="has no member 2 any more"):
        changed({"RED": 1, "GREEN": 2}, {"RED": 1}, 2)
    with pytest.raises(TypeNotLoaded, match="has no member 'RED' any more"):
        changed({"RED": 1.5}, {"GREEN": 1}, 1.5)


@pytest.mark.parametrize("base", [enum.Flag, enum.IntFlag])
def test_flags_keep_their_meaning(base: Any) -> None:
    before = {"READ": 1, "WRITE": 2, "RUN": 4, "ALL": 7}
    for value in range(8):
        found, now = changed(before, before, value, base)
        assert found is now(value)
    del found, now
    assert changed(before, {"RUN": 1, "WRITE": 2, "READ": 8}, 5, base)[0].value == 9
    assert changed(before, {"RUN": 1, "WRITE": 2, "READ": 8}, 1, base)[0].value == 8


def test_aliases_are_their_member() -> None:
    found, now = changed({"RED": 1, "ROUGE": 1}, {"ROUGE": 1, "RED": 1}, 1)
    assert found is now.RED is now.ROUGE

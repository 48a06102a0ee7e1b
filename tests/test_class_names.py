"""Classes that were renamed, moved, nested and given arguments; and names that two of them claim."""

from __future__ import annotations

import itertools
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from charm_checkpoint import ConfigError, NotSerializable, Serializer, TypeNotLoaded, register_moved, register_type
from charm_checkpoint.values.serde import aliases as former
from charm_checkpoint.values.serde import classes, generics, hooks, moved_modules

SERDE = Serializer(on_unknown="raise")
IMPORTS = """
from __future__ import annotations
import enum
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, Literal, NamedTuple, Optional, TypeVar
from pydantic import BaseModel
from charm_checkpoint import register_type
T = TypeVar("T")
S = TypeVar("S")
"""
Deploy = Callable[..., types.ModuleType]


@pytest.fixture(autouse=True)
def apart(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let nothing that a test registers, moves or makes live on into the next."""
    for module, name in ((classes, "_registered"), (classes, "_names"), (hooks, "_changes"), (generics, "_made")):
        monkeypatch.setattr(module, name, dict(getattr(module, name)))
    monkeypatch.setattr(moved_modules, "_moves", {})
    classes._layouts.clear()
    yield
    monkeypatch.undo()
    classes._layouts.clear()


def unload(module: types.ModuleType) -> None:
    """Have no class answer to its name any more; caches of typing's keep some alive."""
    todo = [value for value in vars(module).values() if isinstance(value, type)]
    while todo:
        cls = todo.pop()
        if cls.__module__ == module.__name__:
            cls.__module__ = "gone"
            todo += [value for value in vars(cls).values() if isinstance(value, type)]
    vars(module).clear()


@pytest.fixture
def deploy(monkeypatch: pytest.MonkeyPatch) -> Deploy:
    """Return a function that has modules of these sources loaded, and no longer those of the call before."""
    before: list[str] = []

    def load(**sources: str) -> types.ModuleType:
        for name in before:
            unload(sys.modules.pop(name))
        before.clear()
        for table in (classes._registered, classes._names, generics._made):
            table.clear()  # type: ignore[attr-defined]
        classes._layouts.clear()
        for name, source in sources.items():
            name = name.replace("__", ".")
            module = types.ModuleType(name)
            module.__file__ = f"/{name}.py"
            monkeypatch.setitem(sys.modules, name, module)
            before.append(name)
            exec(IMPORTS + source, module.__dict__)
        return module

    return load


def shown(value: Any) -> str:
    """Return a value, and where its class is now."""
    kind = type(value)
    inside = [shown(each) for each in value] if kind is list else repr(value)
    return f"{kind.__module__}:{kind.__qualname__} {inside}"


# -- moved modules ----------------------------------------------------------------------------------------------------

SHOP = """
class User(BaseModel):
    name: str = "x"
    class Address(BaseModel):
        town: str = "y"
@dataclass
class Item:
    user: User
class Level(enum.Enum):
    LOW = 1
class Row(NamedTuple):
    user: User
    level: Level
@register_type
class Bag:
    pass
class Box(BaseModel, Generic[T]):
    item: T
def values():
    box = Box[User](item=User())
    boxes = [Box[int](item=1), box, Box[list[User]](item=[User()]), Box[Box[User]](item=box)]
    return [User(), User.Address(), Item(User()), Level.LOW, Row(User(), Level.LOW), *boxes]
"""


@pytest.mark.parametrize("moves", [*itertools.permutations([("a", "b"), ("b", "c.d"), ("c.d", "c.e.f")])])
def test_moves_follow_each_other_in_any_order(deploy: Deploy, moves: Any) -> None:
    for name, place in (
        ("a", "c__e__f"),
        ("a__sub", "c__e__f__sub"),
        ("b__x", "c__e__f__x"),
        ("c__d__x", "c__e__f__x"),
    ):
        before = deploy(**{name: SHOP}).values()
        one, many, run = SERDE.dumps(before), SERDE.dumps_many(before), SERDE.dumps_many(before[:1] * 3)
        del before
        after = deploy(**{place: SHOP}).values()
        with pytest.raises(TypeNotLoaded, match="register_moved"):
            SERDE.loads(one)
        for old, new in (*moves, *moves):
            register_moved(old, new)
        strict = SERDE.with_allowlist([type(each) for each in after])
        for found in (SERDE.loads(one), SERDE.loads_many(many), strict.loads(one)):
            assert found == after and list(map(type, found)) == list(map(type, after))
        assert SERDE.loads_many(run) == after[:1] * 3
        moved_modules._moves.clear()


def test_a_package_that_moves_below_itself_and_back(deploy: Deploy) -> None:
    data = SERDE.dumps(deploy(pkg__models=SHOP).values())
    register_moved("pkg", "pkg.core")
    after = deploy(pkg__core__models=SHOP)
    assert SERDE.loads(data) == after.values()
    assert SERDE.loads(SERDE.dumps(after.values())) == after.values()
    data = SERDE.dumps(after.values())
    moved_modules._moves.clear()
    register_moved("pkg.core", "pkg")
    after = deploy(pkg__models=SHOP)
    assert SERDE.loads(data) == after.values()


def test_the_longest_name_holds(deploy: Deploy) -> None:
    data = SERDE.dumps(deploy(old__sub=SHOP).values())
    register_moved("old", "new")
    register_moved("old.sub", "other")
    after = deploy(new__sub=SHOP, other=SHOP)
    assert SERDE.loads(data) == after.values()


@pytest.mark.parametrize(
    "moves, told",
    [
        ([("a", "a")], "come back"),
        ([("a", "b"), ("b", "a")], "come back"),
        ([("a", "b"), ("b", "c"), ("c", "a.x")], "come back"),
        ([("a", "b.a"), ("b", "a")], "come back"),
        ([("a", "b"), ("a", "c")], "is registered as moved to"),
        ([("a:X", "b:X")], "names of modules"),
        ([("a", "")], "names of modules"),
        ([("a.", "b")], "names of modules"),
        ([(None, "b")], "names of modules"),
    ],
)
def test_moves_that_cannot_be(moves: Any, told: str) -> None:
    for each in itertools.permutations(moves):
        moved_modules._moves.clear()
        with pytest.raises(ConfigError, match=told):
            for old, new in each:
                register_moved(old, new)
        assert len(moved_modules._moves) == len(moves) - 1


# -- generic models and classes inside others -------------------------------------------------------------------------

CRATE = """
@register_type(aliases=["m:User"])
class Person(BaseModel):
    name: str = "x"
@register_type(aliases=["m:Box"])
class Crate(BaseModel, Generic[T]):
    item: T
"""
BOXES = {
    "Box[int]": "1",
    "Box[User]": "User()",
    "Box[list[User]]": "[User()]",
    "Box[Optional[User]]": "None",
    "Box[dict[str, User]]": "{'a': User()}",
    "Box[Box[User]]": "Box[User](item=User())",
    "Box[User | None]": "User()",
    "Box[tuple[int, ...]]": "(1, 2)",
    "Box[None]": "None",
    "Box[dict[str, list[User | int]]]": "{'a': [User(), 1]}",
    "Box[Sequence[User]]": "[User()]",
    "Box[Literal['a,b', 1]]": "'a,b'",
    "Box[datetime]": "datetime(2020, 1, 1)",
}


@pytest.mark.parametrize("made", [True, False], ids=["parametrised", "not yet"])
@pytest.mark.parametrize("box", BOXES)
def test_a_generic_model_and_its_argument_are_found_by_themselves(deploy: Deploy, box: str, made: bool) -> None:
    before = deploy(m=SHOP + f"\ndef made(): return {box}(item={BOXES[box]})").made()
    data, run = SERDE.dumps(before), SERDE.dumps_many([before] * 3)
    del before
    renamed = box.replace("Box", "Crate").replace("User", "Person")
    for place, source, name in (("n", SHOP, box), ("m", CRATE, renamed)):
        after = deploy(**{place: source})
        register_moved("m", "n")
        cls = eval(name, after.__dict__) if made else None
        found = SERDE.loads(data)
        assert type(found) is eval(name, after.__dict__) is (cls or type(found)), found
        assert [type(each) for each in SERDE.loads_many(run)] == [type(found)] * 3
        origin = after.__dict__[name.partition("[")[0]]
        user = after.__dict__.get("User") or after.__dict__["Person"]
        assert type(SERDE.with_allowlist([origin, user]).loads(data)) is type(found)
        assert type(SERDE.loads(SERDE.dumps(found))) is type(found)
        moved_modules._moves.clear()
        del found, cls, origin, user


SCHEMA = """
    @classmethod
    def __get_pydantic_core_schema__(cls, source, handler):
        RAN.append(1)
        return handler(source)
"""
OWN = {
    "a class that is told of subclasses": "    def __init_subclass__(cls, **kw): RAN.append(1)",
    "arguments of its own": "    def __class_getitem__(cls, to): RAN.append(1); return super().__class_getitem__(to)",
    "a hook of pydantic's": "    @classmethod\n    def __pydantic_init_subclass__(cls, **kw): RAN.append(1)",
    "a name of its own": "    @classmethod\n    def model_parametrized_name(cls, p): RAN.append(1); return 'X'",
    "a schema of its own": SCHEMA,
    "a generator of aliases": "    model_config = {'alias_generator': lambda name: RAN.append(1) or name}",
    "a field with a schema": "    odd: Odd | None = None",
    "a field's annotation": "    odd: Annotated[int, Mark()] = 1",
    "a field of a dataclass": "    odd: list[Held] | None = None",
}
ODD = """
from typing import Annotated
RAN = []
class Odd:
    @classmethod
    def __get_pydantic_core_schema__(cls, s, h):
        RAN.append(1)
        from pydantic_core import core_schema
        return core_schema.any_schema()
class Mark:
    def __get_pydantic_core_schema__(self, s, h):
        RAN.append(1)
        return h(s)
@dataclass
class Held:
    odd: Odd
"""


@pytest.mark.parametrize("own", OWN)
def test_no_code_of_a_program_runs_for_a_generic_model(deploy: Deploy, own: str) -> None:
    source = ODD.replace("from __future__", "") + f"class Box(BaseModel, Generic[T]):\n    item: T\n{OWN[own]}\n"
    data = SERDE.dumps(deploy(m=source + "def made(): return Box[int](item=1)").made())
    after = deploy(m=source)
    after.RAN.clear()
    with pytest.raises(TypeNotLoaded, match=r"m:Box\[builtins:int\] is not loaded .* of its own.*register_type"):
        SERDE.loads(data)
    assert after.RAN == []
    register_type(after.Box)
    assert SERDE.loads(data).item == 1 and after.RAN


def test_what_is_no_type_of_plain_data_is_no_argument(deploy: Deploy) -> None:
    data = SERDE.dumps(deploy(m=SHOP + "def made(): return Box[User].model_construct(item=1)").made())
    deploy(m=SHOP.replace("User", "Other") + "class User:\n    pass")
    with pytest.raises(TypeNotLoaded, match=r"m:User is not known here"):
        SERDE.loads(data)


def test_a_registered_generic_model_keeps_its_name(deploy: Deploy) -> None:
    made = "\ndef made(): return [Box[User](item=User())]"
    data = SERDE.dumps(deploy(m=SHOP + made).made())
    told = SHOP + "register_type(Box[User], upgrade=lambda fields: fields)" + made
    assert SERDE.dumps(deploy(m=told).made()) == data
    assert set(classes.registered_names()) >= {"m:Box[m:User]", "m:Box[User]"}  # that was its name before 0.3
    assert not {"m:Box[m:User]", "m:Box[User]"} & former.aliases().keys()


def test_arguments_of_one_name_may_both_be_registered(deploy: Deploy) -> None:
    box = deploy(a="class User(BaseModel): x: int = 1", b="class User(BaseModel): y: int = 2", m=SHOP).Box
    one, other = (box[sys.modules[name].User] for name in ("a", "b"))
    for cls in (one, other):
        register_type(cls, version=2)
    values = [one(item=one.model_fields["item"].annotation()), other(item=other.model_fields["item"].annotation())]
    assert SERDE.loads(SERDE.dumps(values)) == values


def test_classes_that_stored_names_made_are_few(deploy: Deploy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generics, "MOST_MADE", 2)
    source = SHOP + "def made(): return [Box[int](item=1), Box[str](item=''), Box[bytes](item=b'')]"
    data = [SERDE.dumps(each) for each in deploy(m=source).made()]
    deploy(m=source)
    for _ in range(3):
        assert [SERDE.loads(each).item for each in data[:2]] == [1, ""]
    with pytest.raises(TypeNotLoaded, match="2 such classes were made"):
        SERDE.loads(data[2])


NESTED = """
class Outer(BaseModel):
    class Inner(BaseModel):
        class Core(enum.Enum):
            A = 1
    class Box(BaseModel, Generic[T]):
        item: T
def made():
    return [Outer.Inner(), Outer.Inner.Core.A, Outer.Box[Outer.Inner](item=Outer.Inner()), Outer.Inner.Core]
"""


def test_a_class_inside_another_is_found_by_the_others_alias(deploy: Deploy) -> None:
    data = SERDE.dumps(deploy(old=NESTED).made())
    renamed = NESTED.replace("Outer", "Shell")
    deploy(new=renamed)
    with pytest.raises(TypeNotLoaded, match="old:Outer.Inner is not loaded"):
        SERDE.loads(data)
    after = deploy(new='@register_type(aliases=["old:Outer"])\n' + renamed)
    assert SERDE.loads(data) == after.made()
    after = deploy(new=renamed)
    register_type(after.Shell.Inner, aliases=["older:Outer.Inner"])
    register_type(after.Shell, aliases=["older:Outer"])
    register_moved("old", "older")
    assert SERDE.loads(data) == after.made()


# -- names that two classes claim -------------------------------------------------------------------------------------

TWO = "class A(BaseModel):\n    x: int = 1\nclass B(BaseModel):\n    x: int = 2\n"


def test_an_alias_that_is_a_living_classs_name_is_refused(deploy: Deploy) -> None:
    module = deploy(m=TWO)
    for how in ({"aliases": ["m:A"]}, {"name": "m:A"}):
        with pytest.raises(ConfigError, match="'m:A' is of another class, m:A.*register_type"):
            register_type(module.B, **how)
    assert type(SERDE.loads(SERDE.dumps(module.A()))) is module.A and not classes._names
    register_type(module.A, name="m.First")
    register_type(module.B, aliases=["m:A"])
    assert [type(SERDE.loads(SERDE.dumps(cls()))) for cls in (module.A, module.B)] == [module.A, module.B]


@pytest.mark.parametrize("how", ["alias", "name", "move"])
def test_a_class_that_came_later_is_neither_written_nor_read_as_the_other(deploy: Deploy, how: str) -> None:
    data = SERDE.dumps(deploy(late=TWO).A(x=5))
    module = deploy(m=TWO)
    if how == "move":
        register_moved("late", "m")
    else:
        register_type(module.A, **({"aliases": ["late:A"]} if how == "alias" else {"name": "late:A"}))
    assert SERDE.loads(data) == module.A(x=5)
    late = types.ModuleType("late")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "late", late)
        exec(IMPORTS + TWO, late.__dict__)
        for value in (late.A(), [late.A()], late.A, {"k": late.A()}):
            with pytest.raises(NotSerializable, match="late:A is read as m:A"):
                SERDE.dumps(value)
        with pytest.raises(NotSerializable, match="late:A is read as m:A"):
            SERDE.dumps_many([late.A()] * 3)
        with pytest.raises(TypeNotLoaded, match=r"late:A is the name of"):
            SERDE.loads(data)
        assert type(Serializer().loads(data)).__name__ == "Unknown"
        if how != "move":
            assert type(SERDE.loads(SERDE.dumps(late.B()))) is late.B
        register_type(late.A, name="late.First")
        assert type(SERDE.loads(SERDE.dumps(late.A()))) is late.A
        assert SERDE.loads(data) == module.A(x=5)


def test_a_class_under_its_former_name_as_well_is_one_class(deploy: Deploy) -> None:
    data = SERDE.dumps(deploy(old=TWO).A(x=5))
    new = deploy(new=TWO, old="import sys\nA = sys.modules['new'].A")
    new = sys.modules["new"]
    register_type(new.A, aliases=["old:A"])
    register_moved("old", "new")
    assert SERDE.loads(data) == new.A(x=5) and SERDE.loads(SERDE.dumps(new.A())) == new.A()


@pytest.mark.parametrize("order", [*itertools.permutations(range(4))])
def test_chains_hold_in_every_order_of_registration(deploy: Deploy, order: Any) -> None:
    """A became B, B became C and C became D; and there is a new class under each name, with one of its own."""
    letters = "ABCD"
    before = deploy(m="".join(f"class {each}(BaseModel):\n    was: str = '{each}'\n" for each in letters))
    data = {each: SERDE.dumps(before.__dict__[each]()) for each in letters[:3]}
    del before
    module = deploy(m="".join(f"class {each}(BaseModel):\n    was: str = 'new'\n" for each in letters))
    todo = list(order)
    while todo:
        refused = []
        for at in todo:
            former = [f"m:{letters[at - 1]}"] if at else []
            try:
                register_type(module.__dict__[letters[at]], name=f"shop.{letters[at]}", aliases=former)
            except ConfigError as error:
                # Who claims the name of a class that has none of its own yet is told so.
                assert f"register_type({letters[at - 1]}, name=…)" in str(error)
                refused.append(at)
        assert len(refused) < len(todo)
        todo = refused
    for each, following in zip(letters, letters[1:], strict=False):  # D is nobody's former name
        found = SERDE.loads(data[each])
        assert type(found) is module.__dict__[following] and found.was == each
        fresh = module.__dict__[each]()
        assert type(SERDE.loads(SERDE.dumps(fresh))) is type(fresh)


@pytest.mark.parametrize("order", [*itertools.permutations("ABC")])
def test_nobody_takes_over_what_another_class_is_stored_as(deploy: Deploy, order: Any) -> None:
    """B is to take what A was, and C what B was, though A and B are there: it is refused, whatever comes first."""
    module = deploy(m="".join(f"class {each}(BaseModel):\n    was: str = '{each}'\n" for each in "ABC"))
    refused = []
    for each in order:
        aliases = {"B": ["m:A"], "C": ["m:B"]}.get(each, [])
        try:
            register_type(module.__dict__[each], aliases=aliases)
        except ConfigError:
            refused.append(each)
    assert sorted(refused) == ["B", "C"]
    for each in "ABC":
        value = module.__dict__[each]()
        assert SERDE.loads(SERDE.dumps(value)) == value


def test_the_same_lines_are_the_same_class(deploy: Deploy) -> None:
    source = '@register_type(name="shop.Order", aliases=["old:Order"])\nclass Order(BaseModel):\n    x: int = 1\n'
    first = deploy(app=source)
    again = types.ModuleType("src.app")
    again.__file__ = first.__file__
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "src.app", again)
        exec(IMPORTS + source, again.__dict__)
        register_type(again.Order, name="shop.Order", aliases=["old:Order"])
        assert type(SERDE.loads(SERDE.dumps(first.Order()))) is again.Order
        other = types.ModuleType("elsewhere")
        other.__file__ = "/elsewhere.py"
        patch.setitem(sys.modules, "elsewhere", other)
        with pytest.raises(ConfigError, match="already registered"):
            exec(IMPORTS + source, other.__dict__)


def test_a_path_with_a_dot_for_its_colon(deploy: Deploy) -> None:
    module = deploy(m=TWO)
    with pytest.raises(ConfigError, match="'old.A' was a name=, give both|stored with a colon.*'old:A'"):
        register_type(module.A, aliases=["old.A"])
    with pytest.raises(ConfigError, match="are a list"):
        register_type(module.A, aliases="old:A")
    with pytest.raises(ConfigError, match="is text"):
        register_type(module.A, aliases=[1])  # type: ignore[list-item]
    register_type(module.A, aliases=["old.A", "old:A"])
    register_type(module.B, name="shop.B", aliases=["shop.Former", "older.B"])
    data = SERDE.dumps(deploy(older=TWO).B())
    module = deploy(m=TWO)
    register_type(module.B, name="shop.B", aliases=["shop.Former", "older.B"])
    assert SERDE.loads(data) == module.B()


def test_an_allowlist_knows_a_class_under_all_its_names(deploy: Deploy) -> None:
    data = SERDE.dumps(deploy(old=TWO + SHOP).A(x=5))
    deploy(new=TWO, old="import sys\nA = sys.modules['new'].A\nB = sys.modules['new'].B")
    new = sys.modules["new"]
    for entry in (("new", "A"), ("old", "A"), new.A):
        assert SERDE.with_allowlist([entry]).loads(data) == new.A(x=5)
        assert SERDE.with_allowlist([entry]).loads(SERDE.dumps(new.A())) == new.A()
    for entry in (("new", "B"), ("old", "B"), new.B):
        with pytest.raises(TypeNotLoaded, match="allowlist"):
            SERDE.with_allowlist([entry]).loads(data)
    registered = Serializer(classes="registered", on_unknown="raise")
    with pytest.raises(TypeNotLoaded, match="allowlist"):
        registered.loads(data)
    register_type(new.A)
    assert registered.loads(data) == new.A(x=5)

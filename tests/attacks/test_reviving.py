"""Reading runs the code of a class.

The attacker may write to the store: a row in SQLite or Postgres, a key in Redis, a file in a synced folder. He cannot
change the program, but he knows the classes that it has loaded, and names one in a value that he forges. He leaves out
a field, so that the class is asked for it: a job class would run its command in ``__init__`` or a validator, settings
would read the environment, a client would call its server, ``_missing_`` and ``__del__`` would do what they do.

What he gets instead: instances are made bare, and their fields set as stored. A field that is not stored takes a plain
default of its class, or the value is refused with the names of class and field. What reading refuses, the program is
told when it writes.
"""

from __future__ import annotations

import dataclasses
import enum
import gc
import os
import random
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from typing import Any, NamedTuple

import ormsgpack
import pydantic
import pytest
from pydantic import AliasChoices, BaseModel, Field, PrivateAttr, field_validator, model_validator

from attacks.forging import ENUM, MODEL_V1, NAMEDTUPLE, OBJECT, SERDE, ext, instance, named, read, read_run, stored
from charm_checkpoint.errors import DataError, NotSerializable, StoreCorrupt, TypeNotLoaded
from charm_checkpoint.values.serde import classes, register_type
from charm_checkpoint.values.serde.class_lookup import _all_classes
from charm_checkpoint.values.serde.class_reading import module_of
from charm_checkpoint.values.serde.classes import is_held, layout_of

RAN: list[str] = []
REFUSED = (DataError, StoreCorrupt)


@pytest.fixture(autouse=True)
def nothing_ran() -> Iterator[None]:
    """Fail where a class's code ran; registrations end with the test."""
    names, registered = dict(classes._names), dict(classes._registered)
    RAN.clear()
    yield
    for table, before in ((classes._names, names), (classes._registered, registered)):
        table.clear()
        table.update(before)  # type: ignore[attr-defined]
    classes._layouts.clear()
    assert RAN == []


def ran(what: str) -> Any:
    RAN.append(what)


class Job(BaseModel):
    """A class that does its work when it is made, as many do."""

    command: str
    number: int = 1
    made: Any = Field(default_factory=lambda: ran("factory"))
    _handle: Any = PrivateAttr(default_factory=lambda: ran("private factory"))

    def __init__(self, **data: Any) -> None:
        ran("__init__")
        super().__init__(**data)

    @field_validator("command")
    @classmethod
    def _run(cls, value: str) -> str:
        ran("validator")
        return value

    @model_validator(mode="after")
    def _after(self) -> Job:
        ran("model validator")
        return self

    def model_post_init(self, context: Any) -> None:
        ran("model_post_init")

    def __setattr__(self, name: str, value: Any) -> None:
        ran("__setattr__")

    def __getattribute__(self, name: str) -> Any:
        if not name.startswith("__"):
            ran("__getattribute__")
        return super().__getattribute__(name)


@dataclasses.dataclass
class Task:
    command: str
    made: Any = dataclasses.field(default_factory=lambda: ran("factory"))

    def __post_init__(self) -> None:
        ran("__post_init__")

    def __setattr__(self, name: str, value: Any) -> None:
        ran("__setattr__")


@pydantic.dataclasses.dataclass
class Checked:
    command: str
    made: Any = Field(default_factory=lambda: ran("factory"))

    @field_validator("command")
    @classmethod
    def _run(cls, value: str) -> str:
        ran("validator")
        return value


class Row(NamedTuple):
    command: str
    number: int = 1

    @property
    def _ran(self) -> Any:
        return ran("property")


@pytest.mark.parametrize(
    ("forged", "field"),
    [
        (instance(Job), "command"),
        (instance(Job, command="rm"), "made"),
        (instance(Job, number=3, other=4), "command"),
        (instance(Task, command="rm"), "made"),
        (instance(Task), "command"),
        (instance(Checked, command="rm"), "made"),
        (ext(NAMEDTUPLE, named(Row), {"number": 1}), "command"),
    ],
)
def test_a_field_that_is_left_out_is_not_asked_for(forged: Any, field: str) -> None:
    for value, path in (([forged], r"\[0\]"), ({"a": {"b": forged}}, r"a\.b")):
        with pytest.raises(TypeNotLoaded, match=rf"^{path}: .*{field}.*"):
            read(value)


def test_nor_in_a_run_of_models() -> None:
    whole = {"command": "x", "number": 1, "made": 1}
    for states in ([{}], [whole, {"command": "rm"}], [whole, {**whole, "x": 1, "made": 1}], [{"x": 1, "y": 1, "z": 1}]):
        with pytest.raises(TypeNotLoaded, match=r"^\[\d\]: .*Job"):
            read_run(Job, *states)


class Old(BaseModel):
    number: int = 1
    tags: list[str] = []
    names: dict[str, list[int]] = Field(default_factory=dict)
    inner: Any = Field(default_factory=list[int])
    text: str = Field("x", alias="label", validation_alias=AliasChoices("label", "title"))
    _seen: list[int] = PrivateAttr([1])

    @field_validator("*")
    @classmethod
    def _never(cls, value: Any) -> Any:
        return ran("validator")


def test_plain_defaults_come_back_and_are_nobody_elses() -> None:
    first, second = read([instance(Old), instance(Old, number=5)])
    assert (first.number, second.number, first.tags, first.names, first.inner, first._seen) == (1, 5, [], {}, [], [1])
    first.tags.append("a"), first.names.setdefault("b", []), first._seen.append(2)
    assert (second.tags, second.names, second._seen) == ([], {}, [1])
    assert vars(read(instance(Old)))["tags"] == []


def test_a_field_is_found_under_its_aliases() -> None:
    for alias in ("label", "title", "text"):
        found = read(ext(40, named(Old), {alias: "y"}, [alias]))
        assert (found.text, found.model_fields_set) == ("y", {"text"})


def test_a_registered_class_is_vouched_for() -> None:
    @dataclasses.dataclass
    class Vouched:
        made: Any = dataclasses.field(default_factory=lambda: "made")

    with pytest.raises(TypeNotLoaded, match=r"Vouched\.made is not stored, and a function .*register_type\(Vouched\)"):
        read(instance(Vouched))
    register_type(Vouched)
    assert read(instance(Vouched)).made == "made"


def test_what_reading_would_refuse_is_refused_at_the_write() -> None:
    class Excluding(BaseModel):
        handle: Any = Field(default_factory=lambda: ran("factory"), exclude=True)

    class Private(BaseModel):
        _handle: Any = PrivateAttr(default_factory=lambda: iter([]))

    lacking = Private()
    lacking.__pydantic_private__ = {}
    for value, text in (
        (Excluding(handle=1), r"^a\[0\]: .*handle is excluded"),
        (Private(), r"^a\[0\]\._handle: "),
        (lacking, r"^a\[0\]: .*_handle is not set"),
    ):
        with pytest.raises(NotSerializable, match=text):
            SERDE.dumps({"a": [value]})
        with pytest.raises(NotSerializable):
            SERDE.dumps_many([value])


# -- enums ------------------------------------------------------------------------------------------------------------


class Colour(enum.Enum):
    RED = "red"
    BLUE = 2

    @classmethod
    def _missing_(cls, value: object) -> Any:
        ran("_missing_")
        return cls.RED


class Rights(enum.IntFlag):
    READ = 1
    WRITE = 2

    @classmethod
    def _missing_(cls, value: object) -> Any:
        ran("_missing_")
        return cls.READ


def test_members_come_back_by_name_and_missing_is_not_asked() -> None:
    values = [Colour.RED, Colour.BLUE, Rights.READ]
    assert SERDE.loads(SERDE.dumps(values)) == values
    for body in (["red"], [2], [None, "BLUE"], ["red", "GONE"], ["gone", "RED"]):
        assert read(ext(ENUM, named(Colour), *body)) in Colour
    for body in (["gone"], [None, "GONE"], [7], ["x", "GONE"], [True], [[1]]):
        with pytest.raises((TypeNotLoaded, StoreCorrupt)):
            read(ext(ENUM, named(Colour), *body))
    both = read(ext(ENUM, named(Rights), 3, "READ|WRITE"))
    assert (both._value_, type(both)) == (3, Rights)


class Open(str, enum.Enum):
    KNOWN = "known"

    @classmethod
    def _missing_(cls, value: object) -> Any:
        ran("_missing_")
        made = str.__new__(cls, str(value))
        made._name_ = made._value_ = str(value)
        return cls._value2member_map_.setdefault(value, made)


class Loose(enum.IntFlag):
    READ = 1


def test_what_only_missing_makes_is_not_written_unless_the_class_is_registered() -> None:
    made, loose = Open("new"), [Loose(9), Loose(0), Loose(-1), Loose.READ]
    for value in ([made], {made: 1}, {"a": {made}}):
        with pytest.raises(NotSerializable, match=r"has no member 'new': .* register_type\(Open\)"):
            SERDE.dumps(value)
    RAN.clear()
    assert SERDE.loads(SERDE.dumps(loose)) == loose
    with pytest.raises(TypeNotLoaded, match="vouch for the class by register_type alone"):
        read(ext(ENUM, named(Open), "newer"))
    assert RAN == []
    register_type(Open)
    data = SERDE.dumps([made, {made: 1}, Open.KNOWN])
    Open._value2member_map_.pop("new")  # as in another process
    again, key, known = SERDE.loads(data)
    assert ([again.value, *key], type(again), known) == (["new", "new"], Open, Open.KNOWN)
    assert set(RAN) == {"_missing_"}
    RAN.clear()


def test_a_value_that_is_an_object_is_compared_with_nothing() -> None:
    for value in (instance(Hashed, x=1), [instance(Hashed, x=1)]):
        with pytest.raises(StoreCorrupt):
            read(ext(ENUM, named(Colour), value))
        with pytest.raises(StoreCorrupt):
            read(ext(ENUM, value, "red"))


# -- classes whose code runs by itself --------------------------------------------------------------------------------


@dataclasses.dataclass
class Hashed:
    x: Any = 1

    def __hash__(self) -> int:
        ran("__hash__")
        return 1

    def __eq__(self, other: object) -> bool:
        ran("__eq__")
        return True

    def __iter__(self) -> Any:
        return ran("__iter__")

    def __repr__(self) -> str:
        ran("__repr__")
        return ""

    def __fspath__(self) -> str:
        ran("__fspath__")
        return ""

    def __index__(self) -> int:
        ran("__index__")
        return 1

    def __len__(self) -> int:
        ran("__len__")
        return 1

    def __str__(self) -> str:
        ran("__str__")
        return ""


class Closing(BaseModel):
    path: str = "x"

    def __del__(self) -> None:
        ran("__del__")


def test_a_class_with_a_del_is_neither_read_nor_written() -> None:
    with pytest.raises(TypeNotLoaded, match=r"^\[0\]: .*Closing has a __del__ of its own.*register_type"):
        read([instance(Closing, path="y")])
    made = object.__new__(Closing)
    with pytest.raises(NotSerializable, match=r"^a: .*Closing has a __del__ of its own.*register_type\(Closing\)"):
        SERDE.dumps({"a": made})
    register_type(Closing)
    value = read([instance(Closing, path="y")])
    assert value[0].path == "y"
    del value, made
    gc.collect()
    assert set(RAN) == {"__del__"}
    RAN.clear()


def test_settings_are_neither_read_nor_written(monkeypatch: pytest.MonkeyPatch) -> None:
    base = type("BaseSettings", (BaseModel,), {"__module__": "pydantic_settings.main"})
    settings = type("Settings", (base,), {"__annotations__": {"key": str}, "__module__": __name__, "key": "x"})
    monkeypatch.setattr(sys.modules[__name__], "Settings", settings, raising=False)
    with pytest.raises(TypeNotLoaded, match="Settings is a class of settings.*register_type"):
        read(instance(settings, key="y"))
    with pytest.raises(NotSerializable, match="is a class of settings"):
        SERDE.dumps(settings())
    register_type(settings)
    assert read(instance(settings, key="y")).key == "y"


class Asked(type):
    """A metaclass that answers for its classes."""

    def __getattribute__(cls, name: str) -> Any:
        if name not in ("__class__", "__dict__"):
            ran(f"metaclass {name}")
        return super().__getattribute__(name)

    def __hash__(cls) -> int:
        ran("metaclass __hash__")
        return 1

    def __eq__(cls, other: object) -> bool:
        ran("metaclass __eq__")
        return cls is other


@dataclasses.dataclass
class Plain:
    x: int = 1


def test_a_metaclass_is_not_asked() -> None:
    answering = Asked("Answering", (Plain,), {"__module__": __name__, "__qualname__": "Answering"})
    RAN.clear()
    for forged in (ext(OBJECT, f"{__name__}:Answering", {"x": 1}), ext(OBJECT, f"{__name__}:Nowhere", {"x": 1})):
        with pytest.raises(TypeNotLoaded):
            read(forged)
    assert RAN == []
    del answering
    RAN.clear()


# -- objects where plain values should be -----------------------------------------------------------------------------

SAFE_CODES = [*range(1, 6), *range(9, 16), *range(18, 30), 31]
EVIL = instance(Hashed, x=1)


@pytest.mark.parametrize("code", SAFE_CODES)
def test_a_decoder_asks_no_object_for_anything(code: int) -> None:
    bodies: list[Any] = [EVIL, [EVIL], [EVIL, EVIL], ["Path", EVIL], ["PosixPath", EVIL], ["IPv4Address", EVIL]]
    bodies += [[3, EVIL], [EVIL, [1]], ["<f8", [EVIL], "C", b""], [EVIL, [1], "C", b""], ["2020-01-01", EVIL, EVIL]]
    for body in [*bodies, [{"a": EVIL}, EVIL], ["builtins:list", EVIL], [EVIL, {}], ["x", EVIL]]:
        try:
            read({"k": [ormsgpack.Ext(code, ormsgpack.packb(body))]})
        except REFUSED as error:
            str(error)


def test_nor_do_the_parts_of_an_object() -> None:
    old = named(Old)
    for code in (40, 41, 42, 43, 44, 45, 46):
        for body in (EVIL, [EVIL], [EVIL, {}, []], [old, EVIL, []], [old, {}, EVIL], [old, {}, [EVIL]]):
            with pytest.raises(REFUSED):
                read(ormsgpack.Ext(code, ormsgpack.packb(body)))
    for shapes, index in ((EVIL, [0]), ([[EVIL, []]], [0]), ([[old, []]], [EVIL]), ([[old, EVIL]], [0])):
        with pytest.raises(REFUSED):
            SERDE.loads_many(b"\x03" + ormsgpack.packb([shapes, index, [{}]]))


# -- every class there is ---------------------------------------------------------------------------------------------


LIBRARIES_OWN = ("__hash__", "__eq__", "hash_func", "get_secret_value", "__getattr__")


class Watch:
    """Notes which Python code runs that is not ours or the standard library's, nor generated from fields."""

    ALLOWED = frozenset({"charm_checkpoint", "attacks", "_pytest", *sys.stdlib_module_names} - {"__main__"})

    def __init__(self) -> None:
        self.found: set[str] = set()

    def __call__(self, frame: types.FrameType, event: str, arg: Any) -> None:
        module, code = str(frame.f_globals.get("__name__", "?")), frame.f_code
        if event != "call" or module.partition(".")[0] in self.ALLOWED or code.co_filename.startswith("<string>"):
            return
        if not (module.startswith(("langgraph.", "langchain_core.", "pydantic.")) and code.co_name in LIBRARIES_OWN):
            self.found.add(f"{module}.{code.co_name}")


def forged_rows(cls: Any, layout: Any) -> Iterator[bytes]:
    """Yield rows of a class: none of its fields, the first one, all of them with odd values; alone and as keys."""
    fields, name = list(layout.fields), named(cls)
    odd = dict.fromkeys(fields, "x")
    for state in ({}, odd, {**odd, "odd": 2}):
        bodies = {
            40: [name, state, list(state)],
            MODEL_V1: [name, state, list(state), {}],
            OBJECT: [name, state],
            ENUM: [name, "odd"],
            NAMEDTUPLE: [name, state],
        }
        if layout.kind in bodies:
            value = ext(layout.kind, *bodies[layout.kind])
            yield stored(ext(5, value, 1) if "odd" in state else [value])


MODULES = (
    *("langchain_core.language_models", "langchain_core.prompts", "langgraph.graph", "langchain.agents", "langsmith"),
    *("langchain_openai", "langchain_anthropic", "openai", "deepagents"),
)


@contextmanager
def uncollected() -> Iterator[None]:
    """Pause the garbage collector, which calls what others have given it to call: Hypothesis does."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@pytest.mark.filterwarnings("ignore")
def test_no_class_of_the_process_runs_anything() -> None:
    for module in MODULES:
        with suppress(ImportError):
            import_module(module)
    watch, tried = Watch(), 0
    known = [
        (cls, layout)
        for cls in list(_all_classes())
        if not module_of(cls).startswith(("attacks", "test_", "charm_checkpoint"))
        and (layout := layout_of(cls)) is not None
        and is_held(cls)
    ]
    scale = int(os.environ.get("CHARM_TEST_SCALE", "1"))
    with uncollected():
        for cls, layout in random.sample(known, min(len(known), 300 * scale)):
            tried += 1
            for row in forged_rows(cls, layout):
                sys.setprofile(watch)
                try:
                    SERDE.loads(row)
                except REFUSED:
                    pass
                finally:
                    sys.setprofile(None)
    assert tried >= 300
    assert sorted(watch.found) == []

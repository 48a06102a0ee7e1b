"""Reading runs an upgrade or a validation that nobody asked for.

The attacker may write to the store. A program that changed its classes has upgrades for some, and has some validated,
which is code that reading runs. He forges objects with fields left out and fields too many, so that it runs for classes
that the program never meant it for: those derived from one with an upgrade, those of a name that it had before, those
that were never registered, or rows of SQLAlchemy's, whose own ``__setattr__`` set a row's state.

What he gets instead: the code runs for exactly the classes that the program named, with fields that are data. For all
others instances are made bare, or refused. What an upgrade returns is looked at as what was stored is.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any, ClassVar, NamedTuple

import pydantic
import pytest
from pydantic import BaseModel, ConfigDict, field_validator
from pydantic import v1 as pydantic_v1

from attacks.forging import MODEL_V1, NAMEDTUPLE, OBJECT, SERDE, ext, instance, named, read, read_run
from charm_checkpoint.errors import NotSerializable, TypeNotLoaded
from charm_checkpoint.values.serde import classes, hooks, register_type

RAN: list[str] = []


def ran(what: str) -> Any:
    RAN.append(what)


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Forget what ran and what a test registers."""
    RAN.clear()
    for module, name in ((hooks, "_changes"), (classes, "_registered"), (classes, "_names")):
        monkeypatch.setattr(module, name, dict(getattr(module, name)))
    classes._layouts.clear()
    yield
    classes._layouts.clear()


class Job(BaseModel):
    command: str
    number: int

    @field_validator("command")
    @classmethod
    def _run(cls, value: str) -> str:
        ran("validator")
        return value


class Nightly(Job):
    pass


class JobV1(pydantic_v1.BaseModel):
    command: str
    number: int

    @pydantic_v1.validator("command")
    def _run(cls, value: str) -> str:  # noqa: N805 (as pydantic has it)
        ran("validator")
        return value


@dataclasses.dataclass
class Task:
    command: str
    number: int

    def __post_init__(self) -> None:
        ran("__post_init__")


@pydantic.dataclasses.dataclass
class Checked:
    command: str
    number: int

    @field_validator("command")
    @classmethod
    def _run(cls, value: str) -> str:
        ran("validator")
        return value


class _Row(NamedTuple):
    command: str
    number: int


class Row(_Row):
    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        ran("__new__")
        return super().__new__(cls, *args, **kwargs)


def forged(cls: type, **fields: Any) -> Any:
    if cls is JobV1:
        return ext(MODEL_V1, named(cls), fields, list(fields), {})
    return ext(NAMEDTUPLE, named(cls), fields) if issubclass(cls, tuple) else instance(cls, **fields)


def tries() -> Iterator[tuple[type, Any]]:
    for cls in (Job, Nightly, JobV1, Task, Checked, Row):
        for fields in ({"command": "rm"}, {"command": "rm", "more": 1}, {"command": "rm", "number": 1, "more": 1}, {}):
            yield cls, forged(cls, **fields)


def attempt(value: Any) -> None:
    try:
        read([value])
    except TypeNotLoaded:
        pass


def test_neither_runs_for_a_class_that_is_not_registered_with_it() -> None:
    for _, value in tries():
        attempt(value)
    for fields in ({"command": "rm"}, {"command": "rm", "number": 1, "more": 1}):
        try:
            read_run(Job, fields, fields)
        except TypeNotLoaded:
            pass
    assert RAN == []


def test_registration_alone_is_no_consent() -> None:
    for cls in (Job, Nightly, JobV1, Task, Checked, Row):
        register_type(cls)
    for _, value in tries():
        attempt(value)
    assert RAN == []


def test_nor_for_a_class_derived_from_one_with_it() -> None:
    register_type(Job, validate=True, upgrade=lambda fields: ran("upgrade"))
    for cls, value in tries():
        if cls is not Job:
            attempt(value)
    assert RAN == []


@pytest.mark.parametrize("cls", [Job, Nightly, JobV1, Task, Checked, Row])
def test_both_run_where_the_program_asked_for_it(cls: type) -> None:
    """Else nothing above would show anything."""
    register_type(cls, validate=True, upgrade=lambda fields: ran("upgrade") or {"number": 1, **fields})
    read([forged(cls, command="echo")])
    assert len(RAN) == 2 and RAN[0] == "upgrade"


def test_what_an_upgrade_returns_is_looked_at_as_what_was_stored() -> None:
    class Plain:
        def allows(self, what: str) -> bool:
            return False

    register_type(Plain, upgrade=lambda fields: fields)
    for others in ({"allows": 1}, {"__class__": 1}):
        with pytest.raises(TypeNotLoaded, match=r"^\[0\]: the attribute"):
            read([ext(OBJECT, named(Plain), {}, others, [])])


# -- rows of SQLAlchemy's ---------------------------------------------------------------------------------------------


def mapped(**code: Any) -> Any:
    orm = pytest.importorskip("sqlalchemy.orm")
    base = type("Base", (orm.MappedAsDataclass, orm.DeclarativeBase), {"__module__": __name__})
    body = {
        "__module__": __name__,
        "__qualname__": "Entry",
        "__tablename__": "entries",
        "__annotations__": {"id": orm.Mapped[int], "title": orm.Mapped[str]},
        "id": orm.mapped_column(primary_key=True),
    }
    return type("Entry", (base,), {**body, **code})


def test_a_row_of_sqlalchemy_gets_its_state_without_its_own_setattr(monkeypatch: pytest.MonkeyPatch) -> None:
    cls = mapped(__setattr__=lambda self, name, value: ran("__setattr__"))
    monkeypatch.setitem(globals(), "Entry", cls)
    found = read(ext(OBJECT, named(cls), {"id": 1, "title": "x"}))
    assert RAN == []
    assert (found.id, found.title) == (1, "x")


def test_a_row_that_is_asked_for_its_class_by_its_own_code_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def spying(self: Any, name: str) -> Any:
        ran("__getattribute__")
        return object.__getattribute__(self, name)

    for code in ({"__getattribute__": spying}, {"__class__": property(lambda self: ran("__class__"))}):
        cls = mapped(**code)
        monkeypatch.setitem(globals(), "Entry", cls)
        with pytest.raises(TypeNotLoaded, match=r"is a mapped class with a __\w+__ of its own"):
            read(ext(OBJECT, named(cls), {"id": 1, "title": "x"}))
        assert RAN == []
        with pytest.raises(NotSerializable):
            SERDE.dumps(object.__new__(cls))
        RAN.clear()


def test_a_table_of_sqlmodel_gets_its_state_without_its_own_setattr(monkeypatch: pytest.MonkeyPatch) -> None:
    sqlmodel = pytest.importorskip("sqlmodel")

    class Harbour(sqlmodel.SQLModel, table=True):  # type: ignore[name-defined, misc, call-arg]
        id: int | None = sqlmodel.Field(default=None, primary_key=True)
        name: str

    # A process that has made no row yet: SQLAlchemy has not set up the attributes.
    assert read(instance(Harbour, id=1, name="x")).name == "x"

    class Ship(sqlmodel.SQLModel, table=True):  # type: ignore[name-defined, misc, call-arg]
        id: int | None = sqlmodel.Field(default=None, primary_key=True)
        name: str
        size: int

        def __setattr__(self, name: str, value: Any) -> None:
            ran("__setattr__")
            super().__setattr__(name, value)

    Ship.__qualname__ = "Ship"
    monkeypatch.setitem(globals(), "Ship", Ship)
    held = Ship(id=1, name="x", size=1)
    data, run = SERDE.dumps([held]), SERDE.dumps_many([held, held])
    RAN.clear()
    found = [*SERDE.loads(data), *SERDE.loads_many(run)]
    assert RAN == []
    engine = sqlmodel.create_engine("sqlite://")
    sqlmodel.SQLModel.metadata.create_all(engine)
    with sqlmodel.Session(engine) as session:
        session.add(found[0])
        session.commit()
        assert session.exec(sqlmodel.select(Ship)).one().name == "x"
    RAN.clear()
    register_type(Ship, validate=True, upgrade=lambda fields: {"size": "3", **fields})
    upgraded = read(ext(40, named(Ship), {"id": 2, "name": "y"}, ["name"]))
    assert (upgraded.id, upgraded.name, upgraded.size) == (2, "y", 3)
    assert "__setattr__" in RAN
    engine.dispose()


def test_what_looks_like_a_managers_is_no_row() -> None:
    class Spy:
        def setup_instance(self, obj: Any) -> None:
            ran("setup_instance")

    class Fake(BaseModel):
        model_config = ConfigDict(ignored_types=(Spy,))
        number: int = 1
        _sa_class_manager: ClassVar[Spy] = Spy()

    assert read(instance(Fake, number=2)).number == 2
    assert RAN == []

"""Versions of classes, and upgrades from each to the next; classes that became of another kind."""

from __future__ import annotations

import dataclasses
from enum import Enum, IntFlag, auto
from typing import Any, NamedTuple

import ormsgpack
import pytest
from deployed import NAME, deploy
from pydantic import BaseModel, Field, PrivateAttr, field_validator
from pydantic import v1 as pydantic_v1

from charm_checkpoint.errors import ConfigError, TypeNotLoaded
from charm_checkpoint.values.serde import Serializer, hooks, register_type
from charm_checkpoint.values.serde.class_fields import ENUM, MODEL, MODEL_V1, NAMEDTUPLE, OBJECT
from charm_checkpoint.values.serde.classes import KEPT
from charm_checkpoint.values.serde.telling import Finding
from charm_checkpoint.values.serde.unknown import Unknown

SERDE = Serializer(on_unknown="raise")


pytestmark = pytest.mark.usefixtures("own_classes")


def stored(value: Any, **how: Any) -> list[bytes]:
    """Store an object: by itself, deep inside, in a dict's key's place where it may be one, and in a run."""
    deploy(type(value), **how)
    deep = [value]
    for _ in range(120):
        deep = [deep]
    return [SERDE.dumps([value]), SERDE.dumps(deep), SERDE.dumps_many([value, value])]


def loaded(data: list[bytes], serde: Serializer = SERDE) -> list[Any]:
    single, deep, run = serde.loads(data[0]), serde.loads(data[1]), serde.loads_many(data[2])
    while type(deep) is list:
        (deep,) = deep
    return [single[0], deep, *run]


class First(BaseModel):
    id: str = "7"
    note: str = "n"


class FirstV1(pydantic_v1.BaseModel):
    id: str = "7"
    note: str = "n"


@dataclasses.dataclass
class FirstData:
    id: str = "7"
    note: str = "n"


class FirstRow(NamedTuple):
    id: str = "7"
    note: str = "n"


class Third(BaseModel):
    id: int
    remark: list[str]


class ThirdV1(pydantic_v1.BaseModel):
    id: int
    remark: list[str]


@dataclasses.dataclass
class ThirdData:
    id: int
    remark: list[str]


class ThirdRow(NamedTuple):
    id: int
    remark: list[str]


FIRST = (First, FirstV1, FirstData, FirstRow)
THIRD = (Third, ThirdV1, ThirdData, ThirdRow)
ALIKE = list(zip(FIRST, THIRD, strict=True))
ran: list[int] = []


def renamed(fields: dict[str, Any]) -> dict[str, Any]:
    ran.append(1)
    assert fields == {"id": "7", "note": "n"}
    return {"id": fields["id"], "remark": fields["note"]}


def listed(fields: dict[str, Any]) -> dict[str, Any]:
    ran.append(2)
    return {"id": int(fields["id"]), "remark": [fields["remark"]]}


STEPS = {1: renamed, 2: listed}


@pytest.mark.parametrize("version", [None, 1])
@pytest.mark.parametrize(("before", "after"), [(one, other) for one in FIRST for other in THIRD])
def test_upgrades_run_one_after_the_other(before: Any, after: Any, version: int | None) -> None:
    data = stored(before(), version=version)
    deploy(after, version=3, upgrade=dict(reversed(STEPS.items())))
    ran.clear()
    for found in loaded(data):
        assert type(found) is after and found == after(id=7, remark=["n"])
        if isinstance(found, BaseModel):
            assert found.model_fields_set == (set() if before in (First, FirstV1) else {"id", "remark"}) | {"remark"}
    assert ran == [1, 2] * 4
    again = [SERDE.dumps([after(id=7, remark=["n"])])]
    ran.clear()
    assert SERDE.loads(again[0]) == [after(id=7, remark=["n"])] and ran == []


@pytest.mark.parametrize(("before", "after"), ALIKE)
def test_only_those_run_that_are_after_the_stored_version(before: Any, after: Any) -> None:
    data = stored(before(note="x"), version=2)
    deploy(after, version=3, upgrade={1: renamed, 2: lambda fields: {"id": 1, "remark": [fields["note"]]}})
    ran.clear()
    assert loaded(data) == [after(id=1, remark=["x"])] * 4 and ran == []
    deploy(before, version=3, upgrade={1: renamed})
    assert loaded(data) == [before(note="x")] * 4 and ran == []


def test_a_version_that_has_the_same_fields_goes_through_its_upgrade() -> None:
    for cls in FIRST:
        data = stored(cls())
        deploy(cls, version=2, upgrade={1: loud})
        assert loaded(data) == [cls(note="N")] * 4
        again = [SERDE.dumps([loaded(data)[0]]), data[1], data[2]]
        assert SERDE.loads(again[0]) == [cls(note="N")]


def test_what_was_stored_when_nothing_was_said_of_versions_is_of_the_first() -> None:
    bodies = {
        First: (MODEL, {"id": "7", "note": "n"}, []),
        FirstV1: (MODEL_V1, {"id": "7", "note": "n"}, [], {}),
        FirstData: (OBJECT, {"id": "7", "note": "n"}),
        FirstRow: (NAMEDTUPLE, {"id": "7", "note": "n"}),
    }
    for cls, (code, *body) in bodies.items():
        data = b"\1" + ormsgpack.packb([ormsgpack.Ext(code, ormsgpack.packb([NAME, *body]))])
        for version, note in ((None, "n"), (1, "n"), (2, "N")):
            deploy(cls, version=version, upgrade={1: loud} if version == 2 else None)
            assert SERDE.loads(data) == [cls(note=note)]  # type: ignore[call-arg]
    data = b"\1" + ormsgpack.packb([ormsgpack.Ext(ENUM, ormsgpack.packb([NAME, 2, "HIGH"]))])
    deploy(Severity, version=2, upgrade={1: lambda fields: {"name": "MAJOR"}})
    assert SERDE.loads(data) == [Severity.MAJOR]


def loud(fields: dict[str, Any]) -> dict[str, Any]:
    return {**fields, "note": fields["note"].upper()}


def test_an_upgrade_and_a_validation() -> None:
    class Loud(BaseModel):
        id: int
        remark: str

        @field_validator("remark")
        @classmethod
        def _loud(cls, value: str) -> str:
            return value.upper()

    for before in FIRST:
        data = stored(before())
        deploy(Loud, version=2, upgrade={1: renamed}, validate=True)
        assert loaded(data) == [Loud(id=7, remark="n")] * 4


@pytest.mark.parametrize("cls", FIRST)
def test_what_a_newer_program_stored_is_not_read(cls: Any) -> None:
    data = stored(cls(), version=4)
    for how in ({}, {"version": 1}, {"version": 3, "upgrade": {1: lambda fields: pytest.fail("ran")}}):
        deploy(cls, **how)
        for each in data[:2]:
            with pytest.raises(TypeNotLoaded, match=rf"{NAME} was stored in version 4 by a newer program.* version "):
                SERDE.loads(each)
        unknown = loaded(data, Serializer())
        assert {type(each) for each in unknown} == {Unknown}
        back = [Serializer().dumps([unknown[0]]), data[1], data[2]]
        deploy(cls, version=4)
        assert loaded(back) == [cls()] * 4


def test_errors_say_which_upgrade_failed() -> None:
    def failing(fields: dict[str, Any]) -> Any:
        raise KeyError("what")

    data = stored(First())
    for steps, error in (
        ({1: renamed, 2: failing}, r"the upgrade from version 2 of .*:Third failed: KeyError\('what'\)"),
        ({1: failing}, r"the upgrade from version 1 of .*:Third failed"),
        ({2: lambda fields: None}, r"the upgrade from version 2 of .*:Third returned a NoneType"),
        ({2: lambda fields: {"id": 1}}, r".*Third has changed .*'remark'"),
    ):
        deploy(Third, version=3, upgrade=steps)
        with pytest.raises(TypeNotLoaded, match=rf"^\[0\]: {error}"):
            SERDE.loads(data[0])
        with pytest.raises(TypeNotLoaded, match=rf"^\[0\]: {error}"):
            SERDE.loads_many(data[2])


class Text(str):
    pass


class Plain:
    pass


class Level(Enum):
    LOW = auto()
    HIGH = auto()


@pytest.mark.parametrize(
    ("cls", "how", "error"),
    [
        (First, {"version": 0}, "takes a whole number from 1 on; given was 0"),
        (First, {"version": True}, "takes a whole number from 1 on; given was True"),
        (First, {"version": "2"}, "takes a whole number from 1 on; given was '2'"),
        (First, {"version": 10**9}, "takes a whole number from 1 on"),
        (First, {"upgrade": {1: renamed}}, "say which one the class has now: version="),
        (First, {"version": 2, "upgrade": {2: renamed}}, "a function for each version before this one"),
        (First, {"version": 2, "upgrade": {0: renamed}}, "a function for each version before this one"),
        (First, {"version": 2, "upgrade": {"1": renamed}}, "a function for each version before this one"),
        (First, {"version": 2, "upgrade": {1: 3}}, "a function for each version before this one; given was 3 for 1"),
        (First, {"version": 2, "upgrade": 3}, "takes a function"),
        (Text, {"version": 2}, "Text is a subclass of a built-in type"),
        (Plain, {"version": 2, "dump": vars, "load": Plain}, "Plain is stored by its dump"),
        (Level, {"version": 2, "validate": True}, "Level is an enum"),
        (Level, {"upgrade": renamed}, r"Level is an enum, .*: register_type\(Level, version=2, upgrade="),
    ],
)
def test_what_cannot_be_is_refused_at_once(cls: type, how: dict[str, Any], error: str) -> None:
    with pytest.raises(ConfigError, match=error):
        register_type(cls, **how)
    assert hooks.change_of(cls) is None


def test_a_plain_class_has_versions_too() -> None:
    class Before:
        def __init__(self) -> None:
            self.id = "7"

    class After:
        pass

    data = stored(Before())
    seen = []
    deploy(
        After,
        version=3,
        upgrade={
            2: lambda fields: seen.append(2) or {**fields, "made": fields["n"]},
            1: lambda fields: seen.append(1) or {**fields, "n": 5},
        },
    )
    for found in loaded(data):
        assert vars(found) == {"id": "7", "n": 5, "made": 5}
    assert seen == [1, 2] * 4
    data = [SERDE.dumps([found]), data[1], data[2]]
    seen.clear()
    assert vars(SERDE.loads(data[0])[0]) == {"id": "7", "n": 5, "made": 5} and seen == []


# -- enums ------------------------------------------------------------------------------------------------------------


class Renumbered(Enum):
    LOW = auto()
    MID = auto()
    HIGH = auto()


class Severity(Enum):
    MINOR = auto()
    MAJOR = auto()


class Access(IntFlag):
    READ = 1
    WRITE = 2


class MoreAccess(IntFlag):
    LIST = 1
    READ = 2
    WRITE = 4


class Grade(str, Enum):
    LOW = "low"
    HIGH = "high"


class Grades(str, Enum):
    HIGH = "low"
    LOW = "high"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (Level.HIGH, Renumbered.HIGH),
        (Access.READ | Access.WRITE, MoreAccess.READ | MoreAccess.WRITE),
        (Access.WRITE, MoreAccess.WRITE),
        (Grade.LOW, Grades.LOW),
    ],
)
def test_the_name_of_a_member_wins_and_that_is_told(before: Any, after: Any) -> None:
    found: list[Finding] = []
    deploy(type(before))
    data = SERDE.dumps(before)
    deploy(type(after))
    assert SERDE.telling(found.append).loads(data) is after
    told = {each[:3] for each in found}
    assert told == {("changed", f"test_serde_versions:{type(after).__qualname__}", before.name)}
    run = stored(before)
    deploy(type(after))
    assert loaded(run) == [after] * 4
    deploy(type(before))
    keys = SERDE.dumps([{before: 1}, {before}])
    deploy(type(after))
    assert SERDE.loads(keys) == [{after: 1}, {after}]


def test_enums_have_upgrades() -> None:
    names = {"LOW": "MINOR", "HIGH": "MAJOR"}
    for version in (None, 1):
        data = stored(Level.HIGH, version=version)
        deploy(Severity, version=2, upgrade={1: lambda fields: {"name": names[fields["name"]]}})
        assert loaded(data) == [Severity.MAJOR] * 4
        again = stored(Severity.MAJOR, version=2, upgrade={1: lambda fields: pytest.fail("ran")})
        assert loaded(again) == [Severity.MAJOR] * 4
        deploy(Severity, version=3, upgrade={1: lambda fields: {"value": fields["value"]}, 2: lambda fields: fields})
        assert loaded(data) == [Severity.MAJOR] * 4 == loaded(again)
        deploy(Level, version=1)
        with pytest.raises(TypeNotLoaded, match="in version 2 by a newer program"):
            SERDE.loads(again[0])
    for wrong, error in (
        ({"name": "NONE"}, "has no member 'NONE'"),
        ({"names": 1}, "other fields than name and value"),
        ({}, "other fields"),
        ({"name": 3}, "no member has"),
        ({"value": [1]}, "no member has"),
    ):
        deploy(Severity, version=2, upgrade={1: lambda fields, wrong=wrong: wrong})
        with pytest.raises(TypeNotLoaded, match=error):
            SERDE.loads(data[0])


# -- classes that became of another kind ------------------------------------------------------------------------------


@pytest.mark.parametrize("after", FIRST)
@pytest.mark.parametrize("before", FIRST)
def test_an_object_of_another_kind_is_made_of_fields_that_fit(before: Any, after: Any) -> None:
    data = stored(before(id="8"))
    deploy(after)
    for found in loaded(data):
        assert type(found) is after and found == after(id="8")
        assert SERDE.loads(SERDE.dumps(found)) == found
        if after is First:
            assert found.model_fields_set == ({"id"} if before in (First, FirstV1) else {"id", "note"})


@pytest.mark.parametrize("before", FIRST)
def test_fields_that_do_not_fit_are_named_with_what_to_do(before: Any) -> None:
    class Less(BaseModel):
        id: str

    @dataclasses.dataclass
    class More:
        id: str
        note: str
        size: int

    for cls, field in ((Less, "note"), (More, "'size'")):
        if isinstance(before(), BaseModel) and cls is Less or before is FirstData and cls is More:
            continue
        data = stored(before())
        deploy(cls)
        with pytest.raises(TypeNotLoaded, match=rf"^\[0\]: {NAME} was stored as a .* and is now a .*{field}.*"):
            SERDE.loads(data[0])
        assert {type(each) for each in loaded(data, Serializer())} == {Unknown}
        more = {} if cls is Less else {"note": "n", "size": 1}
        deploy(cls, upgrade=lambda fields, more=more: {"id": "u", **more})
        assert {found.id for found in loaded(data)} == {"u"}


def test_what_an_object_holds_besides_its_fields_goes_along() -> None:
    class Private(First):
        _seen: int = PrivateAttr(0)

    value = Private()
    value._seen = 3
    data = stored(value)
    deploy(FirstData)
    for found in loaded(data):
        assert found == FirstData() and vars(found)[KEPT] == {"_seen": 3}
    back = SERDE.dumps([found])
    deploy(Private)
    assert SERDE.loads(back)[0]._seen == 3


def test_a_field_is_found_by_its_alias() -> None:
    class Aliased(BaseModel):
        id: str
        remark: str = Field("", alias="note")

    data = stored(FirstData())
    deploy(Aliased)
    assert {found.remark for found in loaded(data)} == {"n"}


def test_enums_and_objects_become_each_other_by_an_upgrade_alone() -> None:
    data = stored(Level.HIGH)
    deploy(FirstData)
    with pytest.raises(TypeNotLoaded, match="stored as an enum and is now a dataclass"):
        SERDE.loads(data[0])
    deploy(FirstData, upgrade=lambda fields: {"id": str(fields["value"]), "note": fields["name"]})
    assert loaded(data) == [FirstData("2", "HIGH")] * 4
    data = stored(FirstData(note="HIGH"))
    deploy(Level, version=2, upgrade={1: lambda fields: {"name": fields["note"]}})
    assert loaded(data) == [Level.HIGH] * 4

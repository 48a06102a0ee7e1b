"""Fields that a class does not have: kept beside the object where there is a place, and told everywhere."""

from __future__ import annotations

import copy
import dataclasses
import logging
import pickle
from collections.abc import Callable
from typing import Any, NamedTuple

import pydantic
import pytest
from pydantic import AliasChoices, BaseModel, ConfigDict, Field, PrivateAttr, RootModel, TypeAdapter
from pydantic import v1 as pydantic_v1

from charm_checkpoint.errors import NotSerializable, TypeNotLoaded
from charm_checkpoint.values.serde import Serializer, classes, hooks, register_type
from charm_checkpoint.values.serde.classes import KEPT
from charm_checkpoint.values.serde.telling import Finding
from charm_checkpoint.values.serde.unknown import Unknown

SERDE = Serializer(on_unknown="raise")
NAME = "shop:Order"


pytestmark = pytest.mark.usefixtures("own_classes")


class Order(BaseModel):
    id: str
    note: str = ""


class Shorter(BaseModel):
    id: str


class Longer(BaseModel):
    id: str
    note: str = ""
    remark: str = ""


class Renamed(BaseModel):
    id: str
    remark: str = Field("", validation_alias=AliasChoices("remark", "note"))


@dataclasses.dataclass
class OrderData:
    id: str
    note: str = ""


@dataclasses.dataclass
class ShorterData:
    id: str


@dataclasses.dataclass
class LongerData:
    id: str
    note: str = ""
    remark: str = ""


@pydantic.dataclasses.dataclass
class ShorterChecked:
    id: str


def deploy(cls: type, **how: Any) -> type:
    """Put a class in the place that others had."""
    for table in (classes._registered, classes._names, hooks._changes):
        table.clear()  # type: ignore[attr-defined]
    classes._layouts.clear()
    register_type(cls, name=NAME, **how)
    return cls


def carried(value: Any, cls: type, serde: Serializer = SERDE, **how: Any) -> list[Any]:
    """Store an object of one class, and return what another one in its place gives, from a value and from a run."""
    deploy(type(value))
    data, run = serde.dumps([value]), serde.dumps_many([value, value])
    deploy(cls, **how)
    return [serde.loads(data)[0], *serde.loads_many(run)]


SHORTER: list[tuple[Any, type]] = [
    (Order(id="7", note="n"), Shorter),
    (OrderData("7", "n"), ShorterData),
    (OrderData("7", "n"), ShorterChecked),
]
COPIES: dict[str, Callable[[Any], Any]] = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda value: pickle.loads(pickle.dumps(value)),
    "model_copy": lambda value: value.model_copy() if isinstance(value, BaseModel) else copy.copy(value),
    "model_copy deep": lambda value: value.model_copy(deep=True) if isinstance(value, BaseModel) else value,
    "model_copy update": lambda value: value.model_copy(update={"id": "7"}) if isinstance(value, BaseModel) else value,
}


@pytest.mark.parametrize("made", COPIES)
@pytest.mark.parametrize(("before", "after"), SHORTER)
def test_it_goes_wherever_the_object_is_copied_to_and_is_stored_with_it(before: Any, after: type, made: str) -> None:
    for found in carried(before, after):
        twin = COPIES[made](found)
        for _ in range(3):
            twin = SERDE.loads(SERDE.dumps(twin))
            assert SERDE.loads(SERDE.dumps({twin.id: [twin]})) == {"7": [twin]}
        data, run = SERDE.dumps(twin), SERDE.dumps_many([twin, after("8")] if after is not Shorter else [twin])
        deploy(type(before))
        assert (SERDE.loads(data), SERDE.loads_many(run)[0]) == (before, before)
        assert KEPT not in vars(SERDE.loads(data))
        deploy(after)


@pytest.mark.parametrize(("before", "after"), SHORTER)
def test_nobody_sees_it(before: Any, after: Any) -> None:
    for found in carried(before, after):
        fresh = after(id="7")
        assert found == fresh and fresh == found and repr(found) == repr(fresh) and not hasattr(found, "note")
        assert vars(found) == {"id": "7", KEPT: {"note": "n"}}
        if isinstance(found, BaseModel):
            assert found.model_dump() == {"id": "7"} and found.model_dump_json() == '{"id":"7"}'
            assert found.model_fields_set == {"id"} and dict(found) == {"id": "7"} and found.model_extra is None
            assert Shorter.model_validate(found) is found
        else:
            assert dataclasses.asdict(found) == {"id": "7"} and dataclasses.astuple(found) == ("7",)
            # A new object, which its constructor made of the fields.
            assert vars(dataclasses.replace(found)) == {"id": "7"}
        if after is not ShorterData:
            assert TypeAdapter(after).dump_python(found) == {"id": "7"}


def test_a_model_that_checks_assignments_goes_on() -> None:
    class Checked(Shorter):
        model_config = ConfigDict(validate_assignment=True, extra="forbid")

    found = carried(Order(id="7", note="n"), Checked)[0]
    found.id = "8"
    data = SERDE.dumps(found)
    deploy(Order)
    assert SERDE.loads(data) == Order(id="8", note="n")


def test_a_model_that_is_validated_again_has_no_place() -> None:
    class Checked(Shorter):
        model_config = ConfigDict(revalidate_instances="always", extra="forbid")

    found = carried(Order(id="7", note="n"), Checked)[0]
    assert Checked.model_validate(found) == found and vars(found) == {"id": "7"}


def test_versions_that_take_turns_lose_nothing() -> None:
    for one, other in ((Order, Renamed), (Order, Shorter), (Longer, Shorter), (OrderData, ShorterData)):
        value: Any = one(id="7", note="n")
        for turn in range(20):
            deploy(one)
            data = SERDE.dumps([value])
            deploy(other)
            (seen,) = SERDE.loads(data)
            seen.id = str(turn)
            data = SERDE.dumps([seen])
            deploy(one)
            (value,) = SERDE.loads(data)
            assert value.id == str(turn)
            assert getattr(seen, "remark", "n") == "n"
            assert value.note == ("n" if other is not Renamed else "")


class OrderV1(pydantic_v1.BaseModel):
    id: str
    note: str = ""


class ShorterV1(pydantic_v1.BaseModel):
    id: str


class OrderRow(NamedTuple):
    id: str
    note: str = ""


class ShorterRow(NamedTuple):
    id: str


@dataclasses.dataclass(slots=True)
class SlottedOrder:
    id: str
    note: str = ""


@dataclasses.dataclass(slots=True)
class ShorterSlotted:
    id: str


NO_PLACE: list[tuple[Any, type]] = [
    (OrderV1(id="7", note="n"), ShorterV1),
    (OrderRow("7", "n"), ShorterRow),
    (SlottedOrder("7", "n"), ShorterSlotted),
]


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize(("before", "after"), [*SHORTER, *NO_PLACE])
def test_it_is_told_by_class_and_field(before: Any, after: Any, deep: bool, caplog: pytest.LogCaptureFixture) -> None:
    found: list[Finding] = []
    deploy(type(before))
    value = [before, before]
    for _ in range(150 if deep else 0):
        value = [value]
    data = SERDE.dumps(value)
    deploy(after)
    SERDE.telling(found.append).loads(data)
    what = "kept" if (before, after) in SHORTER else "lost"
    assert {each[:3] for each in found} == {(what, f"{after.__module__}:{after.__qualname__}", "note")}
    assert not caplog.records
    with caplog.at_level(logging.INFO, "charm_checkpoint"):
        for _ in range(3):
            SERDE.loads(data)
    assert [(r.levelname, r.getMessage()) for r in caplog.records] == [
        ("INFO" if what == "kept" else "WARNING", found[0].message)
    ]


@pytest.mark.parametrize("how", [{}, {"validate": True}], ids=["as it is", "validated"])
@pytest.mark.parametrize(("before", "after"), [*SHORTER, *NO_PLACE])
def test_strictly_it_is_an_error_that_names_it(before: Any, after: Any, how: dict[str, Any]) -> None:
    strict = Serializer(on_unknown="raise", strict=True)
    with pytest.raises(TypeNotLoaded, match=rf"{after.__name__} does not have the stored field note"):
        carried(before, after, strict, **how)
    for found in carried(before, type(before), strict):
        assert found == before
    (unknown, *_) = carried(before, after, Serializer(strict=True), **how)
    assert type(unknown) is Unknown and "n" in (unknown.fields if before == ("7", "n") else unknown.fields["note"])


def test_what_was_kept_is_an_error_strictly_too() -> None:
    kept = carried(Order(id="7", note="n"), Shorter)[0]
    data = SERDE.dumps(kept)
    with pytest.raises(TypeNotLoaded, match="does not have the stored field note"):
        Serializer(on_unknown="raise", strict=True).loads(data)
    upgraded = deploy(Shorter, version=2, upgrade={1: lambda fields: {"id": fields["id"] + fields.pop("note", "")}})
    assert Serializer(strict=True).loads(data) == upgraded(id="7n")
    assert vars(SERDE.loads(data)) == {"id": "7n"}


def test_a_root_model_has_no_place() -> None:
    class Root(RootModel[str]):
        pass

    found = carried(Order(id="7"), Root, upgrade=lambda fields: {"root": fields["id"], "more": 1})[0]
    assert vars(found) == {"root": "7"}


def test_a_new_field_is_told_with_those_that_it_may_have_been() -> None:
    class Called(BaseModel):
        id: str
        remark: str = ""

    class Hashed(BaseModel):
        id: str
        _hash: str = PrivateAttr()

    register_type(Order, name=NAME)
    data = SERDE.dumps(Order(id="7", note="n"))

    def deploy(cls: type) -> None:
        for table in (classes._registered, classes._names, classes._layouts):
            table.clear()  # type: ignore[attr-defined]
        register_type(cls, name=NAME)

    deploy(Called)
    told: list[Finding] = []
    SERDE.telling(told.append).loads(data)
    said = {(kind, name): message for kind, _, name, message in told}
    assert said["missing", "remark"].endswith("If that is the former note, say so by an alias, or an upgrade.")
    deploy(Hashed)
    with pytest.raises(TypeNotLoaded, match=r"'_hash'\). Give it a default, .*: register_type\(Hashed, upgrade=…\)"):
        SERDE.loads(data)


def test_a_field_that_comes_back_is_a_field_again() -> None:
    for start, middle, end in ((Order, Shorter, Longer), (OrderData, ShorterData, LongerData)):
        found: Any = carried(start(id="7", note="n"), middle)[0]
        (back, *_) = carried(found, end)
        assert back == end(id="7", note="n") and KEPT not in vars(back)

    class Loose(Shorter):
        model_config = ConfigDict(extra="allow")

    found = carried(Order(id="7", note="n"), Shorter)[0]
    loose = carried(found, Loose)[0]
    assert loose.model_extra == {"note": "n"} and KEPT not in vars(loose)


@pytest.mark.parametrize("kept", [1, [1], {1: 2}, None])
def test_only_a_dict_of_fields_is_kept(kept: Any) -> None:
    deploy(Shorter)
    value = Shorter(id="7")
    value.__dict__[KEPT] = kept
    assert vars(SERDE.loads(SERDE.dumps(value))) == {"id": "7"}


def test_what_is_kept_and_cannot_be_stored_is_refused() -> None:
    deploy(ShorterData)
    value = ShorterData("7")
    value.__dict__[KEPT] = {"note": object()}
    with pytest.raises(NotSerializable, match=r"note"):
        SERDE.dumps(value)


def test_it_is_kept_in_place_of_a_field_that_is_not_there() -> None:
    """As many entries as the class has fields do not make it whole."""
    deploy(Order)
    whole = Order.model_construct(id="7", note="n")
    data = SERDE.dumps(whole)

    class Other(BaseModel):
        id: str
        size: int = 3

    deploy(Other)
    found: Any = SERDE.loads(data)
    del found.__dict__["size"]
    for twin in (SERDE.loads(SERDE.dumps(found)), *SERDE.loads_many(SERDE.dumps_many([found, found]))):
        assert vars(twin) == {"id": "7", KEPT: {"note": "n"}}


# -- private attributes, extra fields ---------------------------------------------------------------------------------


class Noted(BaseModel):
    id: str = "7"
    _seen: int = PrivateAttr(0)
    _gone: int = PrivateAttr(1)


class LessNoted(BaseModel):
    id: str = "7"
    _seen: int = PrivateAttr(0)


class NotNoted(BaseModel):
    id: str = "7"


class MoreNoted(Noted):
    _more: list[int] = PrivateAttr(default_factory=list)


class Loose(BaseModel):
    model_config = ConfigDict(extra="allow")
    id: str = "7"


@pytest.mark.parametrize("after", [LessNoted, NotNoted, MoreNoted, Noted])
def test_private_attributes_that_come_and_go(after: type[BaseModel]) -> None:
    for found in carried(Noted(), after):
        assert found == after() and found == copy.deepcopy(found) == found.model_copy()
        assert found.__pydantic_private__ == after().__pydantic_private__
        data = SERDE.dumps(found)
        assert SERDE.loads(data) == found
        deploy(Noted)
        assert SERDE.loads(data) == Noted()
        deploy(after)


def test_extra_fields_that_are_not_taken_any_more() -> None:
    before = Loose(size=3)  # type: ignore[call-arg]
    for found in carried(before, NotNoted):
        assert found == NotNoted() and found.model_copy(deep=True) == found and not hasattr(found, "size")
        data = SERDE.dumps(found)
        deploy(Loose)
        assert SERDE.loads(data).model_dump() == before.model_dump()
        deploy(NotNoted)

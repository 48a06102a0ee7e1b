"""Classes that changed since their objects were stored: `register_type` with an upgrade, or with validation."""

from __future__ import annotations

import dataclasses
import gc
import logging
import weakref
from enum import Enum
from typing import Any, NamedTuple

import pydantic
import pytest
from deployed import NAME, forget
from pydantic import AliasChoices, AliasPath, BaseModel, ConfigDict, Field, PrivateAttr, RootModel, field_validator
from pydantic import v1 as pydantic_v1

from charm_checkpoint import open_memory
from charm_checkpoint.errors import ConfigError, TypeNotLoaded
from charm_checkpoint.values.serde import Serializer, classes, hooks, register_type

SERDE = Serializer(on_unknown="raise")


pytestmark = pytest.mark.usefixtures("own_classes")


def deployed(old: Any, cls: type, **how: Any) -> list[Any]:
    """Store an object of one class, and return what reading makes of it with another in its place, in every way."""
    forget()
    register_type(type(old), name=NAME)
    deep: Any = old
    for _ in range(12):
        deep = [deep, {}]  # too deep for the quick way
    chained = Chain(next=old)
    for _ in range(12):
        chained = Chain(next=chained)
    stored = [SERDE.dumps(value) for value in (old, [1, old], deep, chained)]
    run = SERDE.dumps_many([old, old])
    forget()
    register_type(cls, name=NAME, **how)
    single, pair, nested, link = map(SERDE.loads, stored)
    for _ in range(12):
        nested = nested[0]
    while type(link) is Chain:
        link = link.next
    return [single, pair[1], nested, link, *SERDE.loads_many(run)]


class Chain(BaseModel):
    next: Any


class Old(BaseModel):
    id: str = "7"
    note: str = "n"
    _seen: int = PrivateAttr(0)


class OldLoose(Old):
    model_config = ConfigDict(extra="allow")


class New(BaseModel):
    id: int
    remark: str
    count: int = 0
    _seen: int = PrivateAttr(0)
    _made: str = PrivateAttr("")

    def model_post_init(self, context: Any) -> None:
        self._made = f"made of {self.id!r}"

    @field_validator("remark")
    @classmethod
    def _loud(cls, value: str) -> str:
        return value.upper()


@dataclasses.dataclass
class OldData:
    id: str = "7"
    note: str = "n"
    total: int = dataclasses.field(default=3, init=False)


@dataclasses.dataclass(frozen=True)
class NewData:
    id: int
    remark: str
    count: int = 0
    total: int = dataclasses.field(default=0, init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "id", int(self.id))


@pydantic.dataclasses.dataclass
class NewChecked:
    id: int
    remark: str = Field(alias="text")
    count: int = 0
    total: int = Field(0, init=False)


class OldV1(pydantic_v1.BaseModel):
    id: str = "7"
    note: str = "n"
    _seen: int = pydantic_v1.PrivateAttr(0)


class NewV1(pydantic_v1.BaseModel):
    id: int
    remark: str = pydantic_v1.Field(alias="text")
    count: int = 0
    _seen: int = pydantic_v1.PrivateAttr(0)


class OldRow(NamedTuple):
    id: str = "7"
    note: str = "n"


class NewRow(NamedTuple):
    id: int
    remark: str
    count: int = 0


def renamed(fields: dict[str, Any]) -> dict[str, Any]:
    fields["remark"] = fields.pop("note")
    fields["id"] = int(fields["id"])
    return fields


BOTH = [(Old, New), (OldData, NewData), (OldData, NewChecked), (OldV1, NewV1), (OldRow, NewRow)]


@pytest.mark.parametrize(("before", "after"), BOTH)
def test_an_upgrade_makes_fields_that_fit(before: type, after: type) -> None:
    for found in deployed(before(), after, upgrade=renamed):
        assert type(found) is after
        # What the upgrade made is taken as it is, defaults are plain: nothing of the class ran.
        assert (found.id, found.remark, found.count) == (7, "n", 0)


@pytest.mark.parametrize(("before", "after"), BOTH)
def test_an_upgrade_has_to_make_fields_of_their_types(before: type, after: type) -> None:
    with pytest.raises(TypeNotLoaded, match=r"\.id is int now, and a str is stored"):
        deployed(before(), after, upgrade=lambda fields: {**fields, "remark": fields.pop("note")})


@pytest.mark.parametrize(("before", "after"), BOTH)
def test_with_validation_the_class_makes_the_object(before: type, after: type) -> None:
    for found in deployed(before(), after, upgrade=renamed, validate=True):
        assert type(found) is after
        assert found.id == 7
        assert (found.remark, found.count) == ("N" if after is New else "n", 0)


@pytest.mark.parametrize(("before", "after"), BOTH)
def test_without_either_it_is_refused(before: type, after: type) -> None:
    with pytest.raises(TypeNotLoaded, match=r"nothing is stored for its field"):
        deployed(before(), after)


def test_validation_alone_finds_fields_by_their_aliases() -> None:
    class Aliased(BaseModel):
        id: int
        remark: str = Field(validation_alias=AliasChoices("remark", "note"))

    @pydantic.dataclasses.dataclass
    class AliasedData:
        id: int
        remark: str = Field(validation_alias=AliasChoices("text", "note"))
        total: int = 0

    class AliasedV1(pydantic_v1.BaseModel):
        id: int
        remark: str = pydantic_v1.Field(alias="note")

    for old, cls in ((Old(), Aliased), (OldData(), AliasedData), (OldV1(), AliasedV1)):
        for found in deployed(old, cls, validate=True):
            assert (found.id, found.remark) == (7, "n")


def test_a_field_is_taken_by_its_name_and_not_by_anothers_alias() -> None:
    class Swapped(BaseModel):
        id: int
        note: str
        text: str = Field("x", alias="note")
        path: str = Field("y", validation_alias=AliasPath("path", 0))
        count: int = 0

    for found in deployed(Old(note="mine"), Swapped, validate=True):
        assert (found.id, found.note, found.text, found.path) == (7, "mine", "x", "y")
    for found in deployed(
        Old(note="mine"), Swapped, validate=True, upgrade=lambda fields: {**fields, "text": "t", "path": "p"}
    ):
        assert (found.note, found.text, found.path) == ("mine", "t", "p")


@pytest.mark.parametrize("how", [{"validate": True}, {"upgrade": lambda fields: pytest.fail("called")}])
def test_what_fits_is_read_as_it_was_stored(how: dict[str, Any]) -> None:
    class Same(BaseModel):
        id: str
        note: str = ""
        _seen: int = PrivateAttr(0)

        @field_validator("*")
        @classmethod
        def _never(cls, value: Any) -> Any:
            return pytest.fail("validated")

    class Excluding(Same):
        handle: str = Field("default", exclude=True)

    for cls in (Same, Excluding):
        old = Old(id="7")
        for found in deployed(old, cls, **how):
            assert (found.id, found.note, found.model_fields_set) == ("7", "n", {"id"})
        whole = cls.model_construct(id="x")
        whole.__pydantic_private__ = {"_seen": 1}
        assert vars(SERDE.loads(SERDE.dumps(whole)))["id"] == "x"

    @dataclasses.dataclass
    class SameData:
        id: str
        note: str
        total: int = 0

        def __post_init__(self) -> None:
            pytest.fail("called")

    assert {found.id for found in deployed(OldData(), SameData, **how)} == {"7"}


def test_what_was_not_set_stays_so_and_private_attributes_come_back() -> None:
    old = Old(id="8")
    old._seen = 5
    for how in ({}, {"validate": True}):
        for found in deployed(old, New, upgrade=renamed, **how):
            # What the upgrade made counts as set: it is no default.
            assert found.model_fields_set == {"id", "remark"}
            assert (found._seen, found._made) == (5, "made of 8" if how else "")
    v1 = OldV1(id="8")
    v1._seen = 5
    for how in ({}, {"validate": True}):
        for found in deployed(v1, NewV1, upgrade=renamed, **how):
            assert (found._seen, found.__fields_set__) == (5, {"id", "remark"})

    class Aliased(BaseModel):
        id: int
        remark: str = Field(validation_alias=AliasChoices("remark", "note"))

    assert [found.model_fields_set for found in deployed(Old(id="8"), Aliased, validate=True)] == [{"id"}] * 6


def test_fields_that_a_constructor_does_not_take_are_as_they_were_stored() -> None:
    old = OldData()
    old.total = 9
    for cls in (NewData, NewChecked):
        for how in ({}, {"validate": True}):
            assert {found.total for found in deployed(old, cls, upgrade=renamed, **how)} == {9}


def test_an_upgrade_sees_what_was_extra() -> None:
    class Declared(BaseModel):
        id: str
        note: str
        size: int
        _seen: int = PrivateAttr(0)

    class Loose(Declared):
        model_config = ConfigDict(extra="allow")

    seen: list[dict[str, Any]] = []

    def sized(fields: dict[str, Any]) -> dict[str, Any]:
        seen.append(fields)
        return {**fields, "size": int(fields["size"])}

    old = OldLoose(size="3", more=4)  # type: ignore[call-arg]
    for cls, extra in ((Declared, None), (Loose, {"more": 4})):
        for how in ({"upgrade": sized}, {"validate": True}):
            for found in deployed(old, cls, **how):
                assert (found.size, found.__pydantic_extra__) == (3, extra)
                assert found.model_fields_set == {"size"} | set(extra or ())
                assert found == found.model_copy(deep=True)
    assert all(fields == {"id": "7", "note": "n", "size": "3", "more": 4} for fields in seen) and seen


def test_a_class_that_takes_no_extra_fields_any_more(caplog: pytest.LogCaptureFixture) -> None:
    old = OldLoose(more=4)  # type: ignore[call-arg]
    caplog.set_level(logging.INFO, "charm_checkpoint")
    for how in ({}, {"validate": True}):
        for found in deployed(old, Old, **how):
            assert (found.__pydantic_extra__, found.model_fields_set, found.note) == (None, set(), "n")
            assert found == Old() and vars(found)[classes.KEPT] == {"more": 4}
    assert any("does not have the stored field more" in record.getMessage() for record in caplog.records)

    class Strict(Old):
        model_config = ConfigDict(extra="forbid")

    with pytest.raises(TypeNotLoaded, match=r"validation of .*Strict failed: .*more"):
        deployed(old, Strict, validate=True)


def test_a_field_that_went_is_kept_or_dropped_and_told(caplog: pytest.LogCaptureFixture) -> None:
    class Less(BaseModel):
        id: int

    @dataclasses.dataclass
    class LessData:
        id: str

    class LessV1(pydantic_v1.BaseModel):
        id: int

    class LessRow(NamedTuple):
        id: str

    for old, cls in ((Old(), Less), (OldData(), LessData), (OldV1(), LessV1), (OldRow(), LessRow)):
        caplog.clear()
        with caplog.at_level(logging.INFO, "charm_checkpoint"):
            for found in deployed(old, cls, validate=True):
                assert found.id in (7, "7")
        stays = cls in (Less, LessData)
        told = [(record.levelname, record.getMessage()) for record in caplog.records]
        assert {level for level, _ in told} == {"INFO" if stays else "WARNING"}
        assert ["stored field note" in said for _, said in told].count(True) == 1


def test_an_upgrade_of_a_plain_class_sees_every_object() -> None:
    class Before:
        def __init__(self) -> None:
            self.id = "7"

    class Slotted:
        __slots__ = ("id", "made")

    class After:
        pass

    class Boxed(After):
        __slots__ = ("made",)

    def grown(fields: dict[str, Any]) -> dict[str, Any]:
        return {"made": [], **fields}

    for cls in (After, Boxed, Slotted):
        for found in deployed(Before(), cls, upgrade=grown):
            assert (found.id, found.made) == ("7", [])
            found.made.append(1)
            assert SERDE.loads(SERDE.dumps(found)).made == [1]
        if cls is not Slotted:
            assert SERDE.loads(SERDE.dumps(cls())).made == []
    with pytest.raises(TypeNotLoaded, match=r"'__class__' .* a name that Python has a meaning for"):
        deployed(Before(), After, upgrade=lambda fields: {"__class__": 1})


def test_a_root_model_is_validated_by_its_value() -> None:
    class Root(RootModel[dict[str, int]]):
        pass

    for found in deployed(Old(id="7"), Root, validate=True, upgrade=lambda fields: {"root": {"id": fields["id"]}}):
        assert found.root == {"id": 7}


def test_another_class_than_the_one_that_was_registered_is_not_upgraded() -> None:
    class Derived(New):
        pass

    register_type(New, upgrade=lambda fields: pytest.fail("called"), validate=True)
    data = SERDE.dumps({"it": Derived.model_construct(id=1)})
    with pytest.raises(TypeNotLoaded, match="Derived"):
        SERDE.loads(data.replace(b"\x82\xa2id", b"\x82\xa2ix"))


def test_errors_name_the_class_the_path_and_the_error() -> None:
    def failing(fields: dict[str, Any]) -> dict[str, Any]:
        raise KeyError("what")

    cases: list[tuple[dict[str, Any], str]] = [
        ({"upgrade": failing}, r"the upgrade of .*:New failed: KeyError\('what'\)"),
        ({"upgrade": lambda fields: None}, r"the upgrade of .*:New returned a NoneType; it returns a dict of fields"),
        ({"upgrade": lambda fields: {1: 2}}, r"the upgrade of .*:New returned a dict with keys that are no text"),
        ({"upgrade": lambda fields: {}}, r".*:New has changed since .*nothing is stored for its field 'id'"),
        ({"validate": True}, r"the validation of .*:New failed: .*remark"),
    ]
    for how, error in cases:
        forget()
        register_type(Old, name=NAME)
        data, run = SERDE.dumps({"a": [1, Old()]}), SERDE.dumps_many([Chain(next=1), Old()])
        forget()
        register_type(New, name=NAME, **how)
        with pytest.raises(TypeNotLoaded, match=rf"^a\[1\]: {error}"):
            SERDE.loads(data)
        with pytest.raises(TypeNotLoaded, match=rf"^\[1\]: {error}"):
            SERDE.loads_many(run)


def test_memory_that_the_host_lacks_is_its_own_error() -> None:
    def hungry(fields: dict[str, Any]) -> dict[str, Any]:
        raise MemoryError

    for before, after in BOTH:
        for deep in (True, False):
            with pytest.raises(MemoryError):
                deployed(before() if deep else before(), after, upgrade=hungry)


def test_an_object_of_another_class_is_refused() -> None:
    class Odd(BaseModel):
        id: str
        count: int

        @pydantic.model_validator(mode="wrap")
        @classmethod
        def _other(cls, value: Any, handler: Any) -> Any:
            return 3

    with pytest.raises(TypeNotLoaded, match=r"the validation of .*Odd returned a int"):
        deployed(Old(), Odd, validate=True)


class Colour(Enum):
    RED = 1


class Text(str):
    pass


class Plain:
    pass


@pytest.mark.parametrize(
    ("cls", "how", "error"),
    [
        (Colour, {"validate": True}, "Colour is an enum"),
        (Text, {"upgrade": dict}, "Text is a subclass of a built-in type"),
        (Plain, {"validate": True}, r"Plain declares no fields .*upgrade="),
        (Plain, {"upgrade": dict, "dump": vars, "load": dict}, r"Plain is stored by its dump, and read by its load"),
        (New, {"upgrade": 3}, r"takes a function, from stored fields .* given was 3"),
        (New, {"validate": "yes"}, r"takes True or False; given was 'yes'"),
    ],
)
def test_what_cannot_be_is_refused_at_once(cls: type, how: dict[str, Any], error: str) -> None:
    with pytest.raises(ConfigError, match=error):
        register_type(cls, **how)
    assert hooks.change_of(cls) is None and not classes.is_registered(cls)


def test_it_is_a_decorator_too() -> None:
    @register_type(name=NAME, upgrade=renamed, validate=True)
    class Decorated(New):
        pass

    assert hooks.change_of(Decorated) == hooks.Change(True, renamed)


def test_nothing_is_kept_of_a_class_that_went() -> None:
    """Another class at its address would pass for registered, and be upgraded as it was."""

    def define() -> type:
        class Cell(BaseModel):
            x: int = 0

        return register_type(Cell, upgrade=dict)

    first = define()
    key, gone = id(first), weakref.ref(first)
    define()  # the notebook's cell, run again
    del first
    gc.collect()
    assert gone() is None
    assert key not in classes._names and key not in hooks._changes


def test_a_thread_goes_on_with_the_new_class() -> None:
    with open_memory("memory://") as memory:
        saver = memory.get_langgraph_checkpointer()
        register_type(Old, name=NAME)
        config: Any = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}
        checkpoint: Any = {
            "v": 4,
            "id": "1f0",
            "ts": "",
            "channel_values": {"order": Old(), "orders": [Old()] * 300},
            "channel_versions": {"order": 1, "orders": 1},
            "versions_seen": {},
        }
        saver.put(config, checkpoint, {}, checkpoint["channel_versions"])
        forget()
        register_type(New, name=NAME, upgrade=renamed, validate=True)
        found: Any = saver.get_tuple(config)
        held = found.checkpoint["channel_values"]
        assert {(each.id, each.remark) for each in [held["order"], *held["orders"]]} == {(7, "N")}

"""Threads of LangGraph's own savers are taken over by a program whose classes are others now."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Annotated, Any, NamedTuple, TypedDict

import pydantic
import pytest
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.graph import END, START, StateGraph
from official_savers import sqlite_saver, thread
from pydantic import AliasChoices, BaseModel, ConfigDict, Field, computed_field
from pydantic import v1 as pydantic_v1

from charm_checkpoint import open_memory
from charm_checkpoint.cli import main
from charm_checkpoint.errors import TypeNotLoaded
from charm_checkpoint.importers import import_official
from charm_checkpoint.importers.decoding import OfficialDecoder
from charm_checkpoint.importers.fields import Listener
from charm_checkpoint.values.serde import classes, register_type
from charm_checkpoint.values.serde.classes import KEPT
from charm_checkpoint.values.serde.telling import Finding

HERE = sys.modules[__name__]


class Line(BaseModel):
    note: str = ""
    size: int = 1


class Order(BaseModel):
    id: str
    note: str = ""
    lines: list[Line] = []
    by_name: dict[str, Line] = {}

    @computed_field  # type: ignore[prop-decorator]
    @property
    def twice(self) -> str:
        return self.id * 2


@dataclasses.dataclass
class Data:
    id: str
    note: str = ""


class Row(NamedTuple):
    id: str
    note: str = ""


class V1(pydantic_v1.BaseModel):
    id: str
    note: str = ""


VALUES: dict[str, Any] = {
    "Order": Order(id="7", note="n", lines=[Line(note="l")], by_name={"a": Line(note="m")}),
    "Data": Data("7", "n"),
    "Row": Row("7", "n"),
    "V1": V1(id="7", note="n"),
}


pytestmark = pytest.mark.usefixtures("own_classes")


def deploy(monkeypatch: pytest.MonkeyPatch, name: str, cls: type, **how: Any) -> None:
    """Put a class in the place of another one of this module."""
    cls.__module__, cls.__qualname__, cls.__name__ = __name__, name, name
    monkeypatch.setattr(HERE, name, cls)
    classes._layouts.clear()
    if how:
        register_type(cls, **how)


def read(value: Any, strict: bool = False) -> tuple[Any, set[tuple[str, str]]]:
    """Return a value that LangGraph's serializer wrote, and what is found: the kind and the field of each."""
    found: list[Finding] = []
    data = STORED[type(value).__name__]
    return OfficialDecoder(None, Listener(strict, found.append)).loads(*data), {
        (each.what, each.field) for each in found
    }


STORED = {name: JsonPlusSerializer().dumps_typed(value) for name, value in VALUES.items()}


@pytest.mark.parametrize("name", VALUES)
def test_unchanged_classes_give_their_objects_and_nothing_is_found(name: str) -> None:
    made, found = read(VALUES[name])
    assert (made, found) == (VALUES[name], set()) and KEPT not in getattr(made, "__dict__", {})


def test_a_field_that_was_renamed_with_an_alias_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    choices = AliasChoices("remark", "note")
    new_line = pydantic.create_model("Line", remark=(str, Field("", validation_alias=choices)), size=(int, 1))
    deploy(monkeypatch, "Line", new_line)
    fields: Any = {"lines": (list[new_line], []), "by_name": (dict[str, new_line], {})}  # type: ignore[valid-type]
    remark: Any = (str, Field("", validation_alias=choices))
    deploy(monkeypatch, "Order", pydantic.create_model("Order", id=(str, ...), remark=remark, **fields))
    made, found = read(VALUES["Order"])
    assert (made.remark, made.lines[0].remark, made.by_name["a"].remark) == ("n", "l", "m")
    assert found == {("renamed", "remark"), ("kept", "twice")}
    deploy(
        monkeypatch,
        "V1",
        pydantic_v1.create_model("V1", id=(str, ...), remark=(str, pydantic_v1.Field("", alias="note"))),
    )
    assert read(VALUES["V1"])[0].remark == "n"


def test_a_field_that_went_is_kept_or_told_to_be_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    new_line = pydantic.create_model("Line", size=(int, 1))
    deploy(monkeypatch, "Line", new_line)
    fields: Any = {"lines": (list[new_line], []), "by_name": (dict[str, new_line], {})}  # type: ignore[valid-type]
    deploy(monkeypatch, "Order", pydantic.create_model("Order", id=(str, ...), **fields))
    deploy(monkeypatch, "Data", dataclasses.make_dataclass("Data", ["id"]))
    deploy(monkeypatch, "Row", NamedTuple("Row", [("id", str)]))
    deploy(monkeypatch, "V1", pydantic_v1.create_model("V1", id=(str, ...)))
    made, found = read(VALUES["Order"])
    assert found == {("kept", "note"), ("kept", "twice")}
    assert [vars(each)[KEPT] for each in (made, made.lines[0], made.by_name["a"])] == [
        {"note": "n", "twice": "77"},
        {"note": "l"},
        {"note": "m"},
    ]
    made, found = read(VALUES["Data"])
    assert (vars(made), found) == ({"id": "7", KEPT: {"note": "n"}}, {("kept", "note")})
    for name in ("Row", "V1"):
        made, found = read(VALUES[name])
        assert (made.id, found) == ("7", {("lost", "note")})
    for value in VALUES.values():
        with pytest.raises(TypeNotLoaded, match="does not have the stored fields? note"):
            read(value, strict=True)


def test_extra_fields_are_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    config = ConfigDict(extra="allow")
    deploy(monkeypatch, "Order", pydantic.create_model("Order", __config__=config, id=(str, ...)))
    made, found = read(VALUES["Order"])
    assert made.model_extra.keys() == {"note", "lines", "by_name", "twice"} and found == set()


def test_what_a_class_does_not_take_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    deploy(monkeypatch, "Order", pydantic.create_model("Order", id=(str, ...), note=(list[int], ...), total=(int, ...)))
    deploy(monkeypatch, "V1", pydantic_v1.create_model("V1", id=(str, ...), note=(list[int], ...)))
    made, found = read(VALUES["Order"])
    assert made.note == "n" and not hasattr(made, "total")
    assert found == {("changed", ""), ("missing", "total"), ("kept", "lines"), ("kept", "by_name"), ("kept", "twice")}
    assert read(VALUES["V1"]) == (V1.construct(id="7", note="n"), {("changed", "")})
    deploy(monkeypatch, "Data", dataclasses.make_dataclass("Data", ["id", "note", "total"]))
    with pytest.raises(TypeNotLoaded, match=r"test_official_fields:Data .*total"):
        read(VALUES["Data"])


def test_an_upgrade_is_for_what_does_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    def renamed(fields: dict[str, Any]) -> dict[str, Any]:
        return {"id": fields["id"], "remark": fields["note"]}

    for name in ("Order", "V1", "Data", "Row"):
        for how in ({"upgrade": renamed}, {"version": 2, "upgrade": {1: renamed}}):
            deploy(monkeypatch, name, dataclasses.make_dataclass(name, ["id", "remark"]), **how)
            made, found = read(VALUES[name])
            assert ((made.id, made.remark), found) == (("7", "n"), set())
    for name in ("Data", "Row"):
        deploy(monkeypatch, name, type(VALUES[name]), version=2, upgrade={1: lambda fields: pytest.fail("ran")})
        assert read(VALUES[name]) == (VALUES[name], set())


class State(TypedDict):
    order: Annotated[Any, lambda _, new: new]


def test_the_report_and_the_command_say_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "official.sqlite"
    builder = StateGraph(State)
    builder.add_node("same", lambda state: {"order": state["order"]})
    builder.add_edge(START, "same")
    builder.add_edge("same", END)
    values = [VALUES["Data"], VALUES["Row"]]
    with sqlite_saver(file) as official:
        graph = builder.compile(checkpointer=official)
        for name in ("a", "b"):
            graph.invoke({"order": values}, thread(name))
    with open_memory("memory://") as memory:
        assert import_official(file, memory).findings == []
    deploy(monkeypatch, "Data", dataclasses.make_dataclass("Data", ["id"]))
    deploy(monkeypatch, "Row", NamedTuple("Row", [("id", str)]))
    with open_memory("memory://") as memory:
        report = import_official(file, memory)
        assert report.threads == 2 and report.failed == []
        assert {each[:3] for each in report.findings} == {
            ("kept", f"{__name__}:Data", "note"),
            ("lost", f"{__name__}:Row", "note"),
        } and len(report.findings) == 2
        found: Any = memory.get_langgraph_checkpointer().get_tuple(thread("a"))
        assert vars(found.checkpoint["channel_values"]["order"][0]) == {"id": "7", KEPT: {"note": "n"}}
    with open_memory("memory://", strict=True) as memory:
        report = import_official(file, memory)
        assert (report.threads, report.findings, len(report.failed)) == (0, [], 2)
        assert "does not have the stored field note" in str(report.failed[0].error)
    assert main(["import-official", str(file), "--dry-run"]) == 1
    said = capsys.readouterr()
    assert "Row does not have the stored field note" in said.err and "2 threads would be taken over" in said.out

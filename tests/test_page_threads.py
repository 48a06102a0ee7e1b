"""Threads that are odd, on the page: rebuilt from older checkpoints, of classes that are gone, nested, damaged."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypedDict

import pytest
from langgraph.channels.delta import DeltaChannel
from langgraph.graph import START, StateGraph
from page_client import Client, page
from test_page import HOSTILE, State, build, changed, config, head, read, waiting

from charm_checkpoint import Memory, open_memory, register_type
from charm_checkpoint.ui.application import CHANGES
from charm_checkpoint.values.serde import classes


@pytest.fixture
def memory(url: str) -> Iterator[Memory]:
    with open_memory(url) as opened:
        yield opened


@pytest.fixture
def ram() -> Iterator[Memory]:
    with open_memory("memory://") as opened:
        yield opened


@pytest.fixture(scope="module")
def odd() -> Iterator[Client]:
    """Return the browser of a page over a thread ``t`` and an item, for requests that make no sense."""
    with open_memory("memory://") as memory:
        waiting(memory, "t")
        memory.get_langgraph_store().put(("users",), "k", {"name": "x"})
        with page(memory) as client:
            yield client


class Trail(TypedDict, total=False):
    trail: Annotated[list[Any], DeltaChannel(lambda state, more: [*state, *sum(more, [])], snapshot_frequency=50)]  # type: ignore[arg-type]


def test_what_is_rebuilt_from_older_checkpoints_is_copied_with_them(memory: Memory) -> None:
    graph = StateGraph(Trail)
    graph.add_node("walk", lambda state: {"trail": [len(state["trail"])]})
    graph.add_edge(START, "walk")
    compiled = graph.compile(checkpointer=memory.get_langgraph_checkpointer())
    for _ in range(3):
        compiled.invoke({"trail": ["in"]}, config("t"))
    with page(memory, write=True) as client:
        checkpoint = read(client, "history", thread="t")["checkpoints"][3]["checkpoint_id"]
        then = compiled.get_state({"configurable": {"thread_id": "t", "checkpoint_id": checkpoint}}).values
        assert then == {"trail": ["in", 1, "in", 3]}
        changed(client, "fork", thread="t", checkpoint=checkpoint, target="u")
        assert compiled.get_state(config("u")).values == then
        changed(client, "fork", thread="t", checkpoint=checkpoint)
        assert compiled.get_state(config("t")).values == then


def test_a_copy_keeps_what_no_loaded_class_can_restore(ram: Memory, own_classes: None) -> None:
    @dataclass
    class Order:
        number: int

    graph = StateGraph(State)
    graph.add_node("order", lambda state: {"answer": Order(7)})
    graph.add_edge(START, "order")
    register_type(Order, name="shop:Order")
    graph.compile(checkpointer=ram.get_langgraph_checkpointer()).invoke({"messages": []}, config("t"))
    known = dict(classes._registered), dict(classes._names)
    classes._registered.clear()
    classes._names.clear()
    with page(ram, write=True) as client:
        told = read(client, "value", thread="t", path='["answer"]')
        assert "7" in json.dumps(told)
        changed(client, "fork", thread="t", checkpoint=head(client), target="u")
        classes._registered.update(known[0])
        classes._names.update(known[1])
        found = ram.get_langgraph_checkpointer().get_tuple(config("u"))
        assert found is not None
        assert found.checkpoint["channel_values"]["answer"] == Order(7)


def test_what_ran_inside_of_a_node_is_shown(ram: Memory) -> None:
    inner = build().compile(checkpointer=True)
    graph = StateGraph(State)
    graph.add_node("team", inner)
    graph.add_edge(START, "team")
    graph.compile(checkpointer=ram.get_langgraph_checkpointer()).invoke({"messages": []}, config("t"))
    with page(ram) as client:
        rows = read(client, "history", thread="t")["checkpoints"]
        inside = [row for row in rows if row["checkpoint_ns"]]
        assert {row["parents"][""] for row in inside} <= {row["checkpoint_id"] for row in rows}
        space = inside[0]["checkpoint_ns"]
        told = read(client, "state", thread="t", ns=space, checkpoint=inside[0]["checkpoint_id"])
        assert [question["value"] for question in told["questions"]] == [{"question": "really?"}]


def test_a_damaged_thread_is_shown_and_deleted_and_the_others_work(tmp_path: Path) -> None:
    with open_memory(f"sqlite:///{tmp_path}/charm.db") as memory:
        waiting(memory, "t")
        waiting(memory, "u")
    with closing(sqlite3.connect(tmp_path / "charm.db")) as file, file:
        file.execute("UPDATE checkpoint SET body = x'00c1' WHERE rowid = (SELECT max(rowid) FROM checkpoint)")
    with page(open_memory(f"sqlite:///{tmp_path}/charm.db"), write=True) as client:
        assert {row["thread_id"] for row in read(client, "threads")["threads"]} == {"t", "u"}
        rows = read(client, "history", thread="u")["checkpoints"]
        assert [row["note"] is None for row in rows] == [False, True, True]
        for name in ("state", "conversation"):
            reply = client.get(f"/api/{name}", {"thread": "u"})
            assert reply.status_code in (200, 422), reply.text
        assert read(client, "state", thread="t")["channels"]
        changed(client, "delete", thread="u")
        assert [row["thread_id"] for row in read(client, "threads")["threads"]] == ["t"]


def test_a_thread_is_told_of_without_a_listing_and_pinned(memory: Memory) -> None:
    waiting(memory, HOSTILE)
    memory.save_messages("m", [{"role": "user", "content": "hi"}])
    with page(memory, write=True) as client:
        told = read(client, "thread", thread=HOSTILE)
        assert (told["title"], told["status"], told["checkpoints"], told["pinned"]) == ("hi", "waits", 3, False)
        for thread in (HOSTILE, "m"):
            assert changed(client, "pin", thread=thread, pinned=True) == {"thread_id": thread, "pinned": True}
            assert read(client, "thread", thread=thread)["pinned"]
        assert sorted(memory.pins()) == sorted((HOSTILE, "m"))
        changed(client, "pin", thread="m", pinned=False)
        assert memory.pins() == [HOSTILE]
        for gone in (
            client.get("/api/thread", {"thread": "gone"}),
            client.post("/api/pin", {"thread": "gone", "pinned": True}),
        ):
            assert (gone.status_code, gone.json()["error"]) == (404, "ThreadNotFound")
        assert client.post("/api/pin", {"thread": "m", "pinned": "yes"}).status_code == 400


def test_a_page_that_only_shows_changes_nothing(ram: Memory) -> None:
    waiting(ram, "t")
    with page(ram) as client:
        for change in CHANGES:
            refused = client.post(f"/api/{change}", {"thread": "t", "pinned": True})
            assert (refused.status_code, refused.json()["error"]) == (403, "Refused"), change
    assert CHANGES


PATHS = ("value", "blame", "item")
"""Requests that name a place in a value."""


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        *((name, {"path": path}) for name in PATHS for path in ("[", "1", "{}", "[null]", "[true]")),
        *((name, {"path": "[" * 5000}) for name in PATHS),
        *((name, {"path": path}) for name in ("value", "blame") for path in ("", "[]", "[1]")),
        *(("item", {"namespace": namespace}) for namespace in ("[", '"a"', "[1]", "", '["a.b"]')),
        *(("items", {"namespace": namespace}) for namespace in ("[", '"a"', "[1]", "", '["a.b"]', '[""]')),
        ("namespaces", {"offset": "-1"}), ("threads", {"after": "x"}), ("history", {"after": "x"}),
        ("conversation", {"before": "x"}), ("size", {"top": "0"}), ("threads", {"limit": "1e3"}),
    ],
    ids=lambda held: held if isinstance(held, str) else "-".join(held),
)  # fmt: skip
def test_what_makes_no_sense_is_told_and_no_failure(odd: Client, name: str, asked: dict[str, str]) -> None:
    usual = {"thread": "t", "namespace": '["users"]', "key": "k", "path": '["messages"]'}
    reply = odd.get(f"/api/{name}", {**usual, **asked})
    assert (reply.status_code, reply.json()["error"]) in (
        (400, "BadRequest"), (400, "ConfigError"), (400, "InvalidNamespaceError"),
    )  # fmt: skip


def test_where_nothing_stands_is_told_with_the_whole_path(odd: Client) -> None:
    reply = odd.get("/api/value", {"thread": "t", "path": '["messages", 99]'})
    assert (reply.status_code, reply.json()["message"]) == (404, "Nothing stands at ['messages', 99].")

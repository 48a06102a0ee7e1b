"""What the page is told, on every store: threads, time lines, states, conversations, long-term memory; and changes."""

from __future__ import annotations

import json
import operator
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Annotated, Any, TypedDict

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.graph import START, StateGraph
from langgraph.types import interrupt
from page_client import Client, page

from charm_checkpoint import Memory, open_memory
from charm_checkpoint.ui.outline import at, brief, capped, outline
from charm_checkpoint.ui.replies import exact

HOSTILE = "</script><img src=x onerror=alert(1)>\x00\u202e\ud800/../%00?#&=+ ü"
LONG = "ü" * 5_000


class State(TypedDict, total=False):
    messages: Annotated[list[Any], operator.add]
    answer: Any


def ask(state: State) -> Any:
    return {"answer": interrupt({"question": "really?"})}


def build() -> Any:
    graph = StateGraph(State)
    graph.add_node("speak", lambda state: {"messages": [AIMessage("hello", id="m2")]})
    graph.add_node("ask", ask)
    graph.add_edge(START, "speak")
    graph.add_edge("speak", "ask")
    return graph


def config(thread: str) -> Any:
    return {"configurable": {"thread_id": thread}}


def waiting(memory: Memory, thread: str) -> Any:
    """Store a thread whose question waits; return the graph."""
    graph = build().compile(checkpointer=memory.get_langgraph_checkpointer())
    graph.invoke({"messages": [HumanMessage("hi", id="m1")]}, config(thread))
    return graph


@pytest.fixture
def memory(url: str) -> Iterator[Memory]:
    with open_memory(url) as opened:
        yield opened


@pytest.fixture
def ram() -> Iterator[Memory]:
    with open_memory("memory://") as opened:
        yield opened


def read(client: Client, name: str, **parameters: str) -> Any:
    reply = client.get(f"/api/{name}", parameters)
    assert reply.status_code == 200, reply.text
    return reply.json()


def changed(client: Client, name: str, **content: Any) -> Any:
    reply = client.post(f"/api/{name}", content)
    assert reply.status_code == 200, reply.text
    return reply.json()


@pytest.mark.parametrize("thread", ["t", HOSTILE, LONG], ids=["plain", "hostile", "long"])
def test_a_thread_is_shown_whatever_its_name(memory: Memory, thread: str) -> None:
    waiting(memory, thread)
    with page(memory) as client:
        (listed,) = read(client, "threads")["threads"]
        assert (listed["thread_id"], listed["title"], listed["status"]) == (thread, "hi", "waits")
        times = read(client, "history", thread=thread)["checkpoints"]
        assert [row["step"] for row in times] == [1, 0, -1]
        told = read(client, "state", thread=thread)
        assert told["thread_id"] == thread
        assert told["checkpoint"]["checkpoint_id"] == times[0]["checkpoint_id"]
        assert [question["value"] for question in told["questions"]] == [{"question": "really?"}]
        said = read(client, "conversation", thread=thread)["turns"]
        assert [(turn["role"], turn["text"]) for turn in said] == [("human", "hi"), ("ai", "hello")]


def test_names_and_texts_come_as_they_are(memory: Memory) -> None:
    graph = StateGraph(dict)
    graph.add_node(HOSTILE.replace("\x00", "").replace("\ud800", "").replace("|", ""), lambda state: state)
    graph.add_edge(START, next(iter(graph.nodes)))
    compiled = graph.compile(checkpointer=memory.get_langgraph_checkpointer())
    compiled.invoke({HOSTILE: {HOSTILE: [HOSTILE, 2**70, float("inf")]}}, config("t"))
    with page(memory) as client:
        told = read(client, "state", thread="t")
        (root,) = [channel for channel in told["channels"] if not channel["is_internal"]]
        inner = read(client, "value", thread="t", path=json.dumps([root["name"], HOSTILE, HOSTILE]))
        assert [member["value"] for member in inner["members"]] == [HOSTILE, str(2**70), "inf"]


def test_a_large_state_is_opened_in_parts(memory: Memory) -> None:
    graph = StateGraph(dict)
    graph.add_node("a", lambda state: {"long": "x" * 300_000, "list": list(range(5_000)), "deep": {"a": [{"b": 1}]}})
    graph.add_edge(START, "a")
    graph.compile(checkpointer=memory.get_langgraph_checkpointer()).invoke({"in": 1}, config("t"))
    with page(memory) as client:
        id = read(client, "state", thread="t")["checkpoint"]["checkpoint_id"]
        (root,) = [each["name"] for each in read(client, "state", thread="t")["channels"] if not each["is_internal"]]

        def slice_of(*path: Any, offset: int = 0, limit: int = 100) -> Any:
            asked = {"path": json.dumps([root, *path]), "offset": str(offset), "limit": str(limit)}
            return read(client, "value", thread="t", checkpoint=id, **asked)

        reply = client.get("/api/state", {"thread": "t"})
        assert len(reply.content) < 20_000
        assert (slice_of("long")["length"], len(slice_of("long")["value"])) == (300_000, 20_000)
        assert slice_of("long", offset=290_000)["more"] is False
        assert [each["value"] for each in slice_of("list", offset=4_990)["members"]] == list(range(4_990, 5_000))
        assert slice_of("deep", "a", 0)["members"] == [{"key": "b", "type": "number", "value": 1}]
        for path in (["gone"], ["list", 5_000], ["list", "0"], ["long", 0], ["deep", 0]):
            gone = client.get("/api/value", {"thread": "t", "path": json.dumps([root, *path])})
            assert (gone.status_code, gone.json()["error"]) == (404, "PathNotFound")


def test_what_is_not_there_is_told(memory: Memory) -> None:
    waiting(memory, "t")
    with page(memory) as client:
        for name in ("history", "state", "conversation", "size", "diff"):
            gone = client.get(f"/api/{name}", {"thread": "nobody"})
            assert (gone.status_code, gone.json()["error"]) == (404, "ThreadNotFound"), name
        gone = client.get("/api/state", {"thread": "t", "checkpoint": "nothing"})
        assert (gone.status_code, gone.json()["error"]) == (404, "CheckpointNotFound")


def test_an_empty_store(memory: Memory) -> None:
    with page(memory) as client:
        assert read(client, "threads") == {"threads": [], "next": None}
        assert read(client, "namespaces") == {"namespaces": [], "more": False}
        assert read(client, "size")["threads"] == []


def test_messages_alone_are_a_conversation(memory: Memory) -> None:
    memory.save_messages("t", [{"role": "user", "content": "hello"}])
    with page(memory) as client:
        assert read(client, "history", thread="t")["checkpoints"] == []
        assert [turn["text"] for turn in read(client, "conversation", thread="t")["turns"]] == ["hello"]


def test_pages_go_on_where_they_ended(memory: Memory) -> None:
    graph = waiting(memory, "t")
    for number in range(4):
        graph.invoke({"messages": [HumanMessage(f"more {number}", id=f"n{number}")]}, config("t"))
        memory.save_messages(f"m{number}", [{"role": "user", "content": "x"}])
    with page(memory) as client:
        assert len(all_of(client, "threads", "threads", order="id")) == 5
        whole = read(client, "history", thread="t")["checkpoints"]
        ids = [row["checkpoint_id"] for row in all_of(client, "history", "checkpoints", thread="t")]
        assert ids == [row["checkpoint_id"] for row in whole]


def all_of(client: Client, name: str, key: str, **parameters: str) -> list[Any]:
    rows: list[Any] = []
    after = ""
    while True:
        found = read(client, name, limit="2", after=after, **parameters)
        rows += found[key]
        after = found["next"]
        if after is None:
            return rows


def test_the_pulse_beats_with_every_change(memory: Memory) -> None:
    graph = waiting(memory, "t")
    with page(memory) as client:
        first = read(client, "pulse", thread="t")
        assert read(client, "pulse", thread="t") == first
        memory.get_langgraph_checkpointer().put_writes(
            {"configurable": {"thread_id": "t", "checkpoint_ns": "", "checkpoint_id": head(client)}}, [("x", 1)], "task"
        )
        second = read(client, "pulse", thread="t")
        graph.invoke({"messages": [HumanMessage("more", id="m3")]}, config("t"))
        third = read(client, "pulse", thread="t")
        assert len({json.dumps(each) for each in (first, second, third)}) == 3


def head(client: Client, thread: str = "t") -> str:
    id: str = read(client, "history", thread=thread, ns="")["checkpoints"][0]["checkpoint_id"]
    return id


def test_what_differs_and_who_wrote_it(memory: Memory) -> None:
    waiting(memory, "t")
    with page(memory) as client:
        last, before, _ = read(client, "history", thread="t")["checkpoints"]
        found = read(client, "diff", thread="t", a=before["checkpoint_id"], b=last["checkpoint_id"])
        (change,) = [each for each in found["changes"] if each["path"].startswith("messages")]
        assert change["kind"] == "added"
        entries = read(client, "blame", thread="t", path=json.dumps(["messages", 1]))["entries"]
        assert [entry["nodes"] for entry in entries] == [["speak"]]


def test_items_are_shown_and_kept_alive_by_nobody(memory: Memory) -> None:
    store = memory.get_langgraph_store(ttl={"default_ttl": 60, "refresh_on_read": True})
    label = HOSTILE.replace(".", "").replace("\x00", "").replace("\ud800", "")
    store.put(("users", label), HOSTILE, {"name": HOSTILE, "many": list(range(300))})
    with page(memory) as client:
        (namespace,) = read(client, "namespaces")["namespaces"]
        (item,) = read(client, "items", namespace=json.dumps(namespace[:1]))["items"]
        assert (item["namespace"], item["key"]) == (namespace, HOSTILE)
        asked = {"namespace": json.dumps(namespace), "key": HOSTILE}
        assert read(client, "item", **asked, path='["name"]')["value"] == HOSTILE
        members = read(client, "item", **asked, path='["many"]', offset="250")["members"]
        assert [member["value"] for member in members] == list(range(250, 300))
        gone = client.get("/api/item", {"namespace": '["users"]', "key": "gone"})
        assert (gone.status_code, gone.json()["error"]) == (404, "NotThere")
        found = read(client, "items", namespace="[]", search="name")["items"]
        assert [each["key"] for each in found] == [HOSTILE]


# ---------------------------------------------------------------------------------- changes


def test_going_back_puts_a_copy_at_the_head(memory: Memory) -> None:
    graph = waiting(memory, "t")
    with page(memory, write=True) as client:
        first = read(client, "history", thread="t")["checkpoints"][1]
        done = changed(client, "fork", thread="t", checkpoint=first["checkpoint_id"])
        rows = read(client, "history", thread="t")["checkpoints"]
        assert (done["checkpoint_id"], rows[0]["parent_id"]) == (rows[0]["checkpoint_id"], first["parent_id"])
        assert (rows[0]["is_head"], rows[0]["is_fork"], rows[0]["next"]) == (True, True, ["speak"])
        differs = read(client, "diff", thread="t", a=first["checkpoint_id"], b=done["checkpoint_id"])
        assert differs["changes"] == []
        graph.invoke(None, config("t"))
        assert [turn["text"] for turn in read(client, "conversation", thread="t")["turns"]] == ["hi", "hello"]


def test_a_copy_may_begin_a_thread(memory: Memory) -> None:
    graph = waiting(memory, "t")
    with page(memory, write=True) as client:
        checkpoint = head(client)
        done = changed(client, "fork", thread="t", checkpoint=checkpoint, target="u")
        rows, led = (read(client, "history", thread=thread)["checkpoints"][1:] for thread in "ut")
        assert done["thread_id"] == "u" and rows
        assert [row["checkpoint_id"] for row in rows] == [row["checkpoint_id"] for row in led]
        graph.invoke(None, config("u"))
        assert [question["waits"] for question in read(client, "state", thread="u")["questions"]] == [True]
        taken = client.post("/api/fork", {"thread": "t", "checkpoint": checkpoint, "target": "u"})
        assert (taken.status_code, taken.json()["error"]) == (409, "ThreadExists")
        gone = client.post("/api/fork", {"thread": "t", "checkpoint": "nothing"})
        assert (gone.status_code, gone.json()["error"]) == (404, "CheckpointNotFound")


def test_a_thread_is_deleted(memory: Memory) -> None:
    waiting(memory, "t")
    memory.save_messages("t", [{"role": "user", "content": "x"}])
    with page(memory, write=True) as client:
        changed(client, "delete", thread="t")
        assert read(client, "threads")["threads"] == []


def test_a_stored_answer_is_taken_by_the_next_run(memory: Memory) -> None:
    graph = waiting(memory, "t")
    with page(memory, write=True) as client:
        told = read(client, "state", thread="t")
        asked = {"thread": "t", "checkpoint": told["checkpoint"]["checkpoint_id"], "id": told["questions"][0]["id"]}
        assert told["answers"] == []
        assert changed(client, "answer", **asked, answer={"yes": HOSTILE}) == {"outcome": "stored"}
        stored = read(client, "state", thread="t")
        assert stored["answers"] == [{"yes": HOSTILE}]
        unseen = client.post("/api/answer", {**asked, "answer": "no"})  # of a page that shows no answer yet
        assert (unseen.status_code, unseen.json()["error"]) == (409, "Outdated")
        assert changed(client, "answer", **asked, answer="no", answered=stored["answered"]) == {"outcome": "stored"}
        assert read(client, "state", thread="t")["answers"] == ["no"]
        assert graph.invoke(None, config("t"))["answer"] == "no"
        late = client.post("/api/answer", {**asked, "answer": "yes"})
        assert (late.status_code, late.json()["error"]) == (409, "Outdated")


def test_an_answer_has_the_graph_go_on(memory: Memory) -> None:
    waiting(memory, "t")
    with page(memory, write=True, graph=build().compile()) as client:
        told = read(client, "state", thread="t")
        asked = {"thread": "t", "checkpoint": told["checkpoint"]["checkpoint_id"], "id": told["questions"][0]["id"]}
        assert changed(client, "answer", **asked, answer=["yes"]) == {"outcome": "running"}
        wait_for(lambda: read(client, "threads")["threads"][0]["status"] == "done")
        answers = read(client, "value", thread="t", path='["answer"]')["members"]
        assert [member["value"] for member in answers] == ["yes"]
        assert read(client, "pulse", thread="t")["failure"] is None


def test_a_question_is_answered_once_while_a_run_goes_on(ram: Memory) -> None:
    waiting(ram, "t")
    runs, ended = [], Event()

    def go_on(state: State) -> Any:
        answer = interrupt("?")
        runs.append(answer)
        ended.wait()
        return {"answer": answer}

    graph = build()
    graph.nodes.pop("ask")
    graph.add_node("ask", go_on)
    with page(ram, write=True, graph=graph.compile()) as client:
        told = read(client, "state", thread="t")
        asked = {"thread": "t", "checkpoint": told["checkpoint"]["checkpoint_id"], "id": told["questions"][0]["id"]}
        try:
            with ThreadPoolExecutor(4) as pool:
                given = list(pool.map(lambda n: client.post("/api/answer", {**asked, "answer": n}), range(4)))
            wait_for(lambda: runs)
            late = client.post("/api/answer", {**asked, "answer": "late"})
        finally:
            ended.set()
        assert sorted(reply.status_code for reply in given) == [200, 409, 409, 409]
        assert (late.status_code, late.json()["error"]) == (409, "Outdated")
        wait_for(lambda: read(client, "threads")["threads"][0]["status"] == "done")
        assert len(runs) == 1


def test_what_a_run_fails_with_is_told(ram: Memory) -> None:
    waiting(ram, "t")

    def fail(state: State) -> Any:
        interrupt("?")
        raise ValueError("no luck: password=hunter2")

    graph = build()
    graph.nodes.pop("ask")
    graph.add_node("ask", fail)
    with page(ram, write=True, graph=graph.compile()) as client:
        told = read(client, "state", thread="t")
        asked = {"thread": "t", "checkpoint": told["checkpoint"]["checkpoint_id"], "id": told["questions"][0]["id"]}
        changed(client, "answer", **asked, answer="x")
        wait_for(lambda: read(client, "pulse", thread="t")["failure"])
        assert read(client, "state", thread="t")["failure"] == "ValueError: no luck: password=***"


def wait_for(condition: Callable[[], Any]) -> None:
    """Wait until something holds; the test's time limit ends it."""
    while not condition():
        pass


def test_of_several_questions_a_graph_is_needed(ram: Memory) -> None:
    graph = StateGraph(State)
    for name in ("one", "two"):
        graph.add_node(name, ask)
        graph.add_edge(START, name)
    graph.compile(checkpointer=ram.get_langgraph_checkpointer()).invoke({"messages": []}, config("t"))
    with page(ram, write=True) as client:
        told = read(client, "state", thread="t")
        first, _ = told["questions"]
        sent = {"thread": "t", "checkpoint": told["checkpoint"]["checkpoint_id"], "id": first["id"], "answer": 1}
        refused = client.post("/api/answer", sent)
        assert (refused.status_code, "--graph" in refused.json()["message"]) == (403, True)
        nothing = client.post("/api/answer", {**sent, "answer": None})
        assert nothing.status_code == 400


# ---------------------------------------------------------------------------------- values in parts


def test_a_value_in_parts() -> None:
    value = {"a": [1, 2.5, True, None, "x" * 500], "b": {}, "c": []}
    told = outline(value, 0, 2)
    assert (told["type"], told["length"], told["more"]) == ("object", 3, True)
    assert told["members"][0] == {"key": "a", "type": "array", "length": 5, "preview": brief(value["a"])}
    assert told["members"][0]["preview"] == "[1, 2.5, true, null, …]"
    assert outline(value["a"], 4)["members"][0]["cut"] is True
    assert at(value, ["a", 1]) == 2.5


def test_what_is_cut_is_counted() -> None:
    value = {"texts": ["x" * 100 for _ in range(1_000)], "z": 1}
    cut, _ = capped(value, 1_000)
    assert len(json.dumps(cut)) < 3_000
    assert cut["texts"][-1] == f"… {1_000 - len(cut['texts']) + 1} more"
    assert capped(value, 10**6) == (
        value,
        10**6 - len(capped("", 1)[0]) - sum(len(each) for each in value["texts"]) - 14,
    )


@pytest.mark.parametrize(
    ("value", "shown"), [(2**53, 2**53), (2**53 + 1, str(2**53 + 1)), (-(2**60), str(-(2**60))), (True, True)]
)
def test_numbers_that_a_browser_would_change_are_text(value: Any, shown: Any) -> None:
    assert exact({"a": [value]}) == {"a": [shown]}
    assert type(exact(value)) is type(shown)

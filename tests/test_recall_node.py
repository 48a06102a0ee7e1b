"""Memories in graphs of one's own: a node that recalls them, and functions that show them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from typing import Annotated, Any

import pytest
from fake_models import FakeModel
from langchain_core.messages import AIMessage, ChatMessage, HumanMessage, SystemMessage
from langgraph.channels import UntrackedValue
from langgraph.graph import START, MessagesState, StateGraph

from charm_checkpoint import LongTermMemory, Memory, open_memory
from charm_checkpoint.agents.recall_node import last_of_user, recall_node, with_memories
from charm_checkpoint.errors import ConfigError
from charm_checkpoint.long_term.prompt_block import Budget, prompt_block

QUESTION = "How do I install packages here?"
RULE = "Use uv instead of pip to install packages."


@pytest.fixture
def store() -> Iterator[Memory]:
    """Return a store."""
    with open_memory("memory://") as opened:
        yield opened


@pytest.fixture
def memories(store: Memory) -> LongTermMemory:
    """Return memories in it, one of them about packages."""
    made = store.long_term(scopes={"global": False})
    made.remember("rule", "Package manager", RULE)
    return made


class State(MessagesState):
    """What the README of a graph of one's own would declare."""

    memories: Annotated[str, UntrackedValue]


def graph_of(store: Memory, model: FakeModel, node: Any) -> Any:
    def answer(state: State) -> dict[str, Any]:
        return {"messages": [model.invoke(with_memories(state["messages"], state["memories"]))]}

    builder = StateGraph(State).add_sequence([("recall", node), ("answer", answer)]).add_edge(START, "recall")
    return builder.compile(checkpointer=store.get_langgraph_checkpointer())


@pytest.mark.parametrize("mode", ["blocking", "async"])
def test_a_graph_recalls_by_a_node(store: Memory, memories: LongTermMemory, mode: str) -> None:
    model = FakeModel.of(["first", "second"])
    graph = graph_of(store, model, recall_node(memories))
    for given in ("Hello!", QUESTION):
        config: Any = {"configurable": {"thread_id": "1"}}
        messages = {"messages": [HumanMessage(given)]}
        result = graph.invoke(messages, config) if mode == "blocking" else asyncio.run(graph.ainvoke(messages, config))
    assert [len(call) for call in model.shown] == [1, 4]
    assert RULE in model.shown[1][2].text and model.shown[1][3].text == QUESTION
    assert [message.text for message in result["messages"]] == ["Hello!", "first", QUESTION, "second"]
    saved = list(store.get_langgraph_checkpointer().list(None))
    assert saved and RULE not in repr(saved)


def test_saved_turns_of_the_thread_are_left_out(store: Memory, memories: LongTermMemory) -> None:
    memories.remember("fact", "cli_ann_1", "To install packages", category="conversation", session="1", source="auto")
    model = FakeModel.of(lambda messages: "fine")
    graph = graph_of(store, model, recall_node(memories, turns=True))
    for thread in ("1", "2"):
        graph.invoke({"messages": [HumanMessage(QUESTION)]}, {"configurable": {"thread_id": thread}})
    assert ["cli_ann_1" in call[0].text for call in model.shown] == [False, True]


def test_a_node_reads_other_states(memories: LongTermMemory) -> None:
    class Given:
        chat = ({"role": "user", "content": QUESTION},)

    node = recall_node(memories, "chat", "notes", budget=Budget(entries=1))
    assert RULE in node.invoke(Given())["notes"]
    assert RULE in node.invoke({"chat": [("user", QUESTION)]})["notes"]
    assert node.invoke({"chat": []}) == {"notes": ""} == asyncio.run(node.ainvoke({"chat": [AIMessage("Hi.")]}))


def test_a_node_goes_on_without_a_store(
    store: Memory, memories: LongTermMemory, caplog: pytest.LogCaptureFixture
) -> None:
    node = recall_node(memories)
    store.close()
    with caplog.at_level(logging.WARNING, "charm_checkpoint"):
        assert node.invoke({"messages": [HumanMessage(QUESTION)]}) == {"memories": ""}
        assert asyncio.run(node.ainvoke({"messages": [HumanMessage(QUESTION)]})) == {"memories": ""}
    assert len(caplog.records) == 2


def test_options_are_checked(memories: LongTermMemory) -> None:
    with pytest.raises(ConfigError, match="budget"):
        recall_node(memories, budget=4)
    with pytest.raises(TypeError):
        recall_node(memories, entries=4)


def test_memories_are_put_before_the_last_message_of_the_users(memories: LongTermMemory) -> None:
    summary = HumanMessage("What was said.", additional_kwargs={"lc_source": "summarization"})
    messages = [SystemMessage("You help."), HumanMessage("Hi!"), AIMessage("Hello."), HumanMessage(QUESTION), summary]
    entries = memories.recall(QUESTION)
    shown = with_memories(messages, entries)
    assert [*shown[:3], *shown[4:]] == messages and shown[3].content == prompt_block(entries)
    assert last_of_user(messages) == 3 == last_of_user(shown) - 1
    assert with_memories(shown, "") == shown
    assert with_memories(messages[:1], entries) == messages[:1]
    assert with_memories([("user", QUESTION)], memories.context(QUESTION))[0] == shown[3]


def test_the_block_is_the_same_text_blocking_and_async(memories: LongTermMemory) -> None:
    block = memories.context(QUESTION)
    assert RULE in block and asyncio.run(memories.acontext(QUESTION)) == block == memories.context(QUESTION)
    assert memories.context("") == memories.context(" \u200b\n") == memories.context("Is it raining?") == ""
    assert memories.context(QUESTION, kinds="fact") == "" == memories.context(QUESTION, budget=Budget(entries=0))


def test_a_message_need_not_say_all_that_a_question_does(store: Memory, memories: LongTermMemory) -> None:
    message = "Please install packages for checkout."
    [entry] = memories.recall(message, min_score=0.0)
    assert entry.score is not None

    def wanting(share: float, **more: Any) -> LongTermMemory:
        return store.long_term(scopes={"global": False}, min_score=entry.score * share, **more)

    assert wanting(1.1).recall(message) == [] and RULE in wanting(1.1).context(message)
    assert wanting(1.1).context(message, min_score=entry.score * 1.1) == ""
    assert wanting(1.3).context(message) == ""
    by_vectors = wanting(1.1, embed=lambda texts: [[1.0, 0.0] for _ in texts], dims=2)
    assert by_vectors._least(None) > entry.score > wanting(1.1)._least(None)


def test_a_message_without_a_role_hides_no_other(store: Memory) -> None:
    given = [
        {"role": "user", "content": QUESTION},
        {"content": "of nobody"},
        HumanMessage("by the user"),
        ("human", "a pair"),
        {"role": "narrator", "content": "once"},
    ]
    shown = with_memories(given, "BLOCK")
    assert [message.content for message in shown] == [
        QUESTION, "of nobody", "by the user", "BLOCK", "a pair", "once"
    ]  # fmt: skip
    assert isinstance(shown[1], ChatMessage)
    assert shown[1].role == "unknown"
    store.append_messages("1", [message for message in given if not isinstance(message, tuple)])
    assert [message.content for message in with_memories(store.load_messages("1"), "")] == [
        QUESTION, "of nobody", "by the user", "once"
    ]  # fmt: skip

"""Message history and growth: what is kept of conversations, and in how many bytes."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, ChatMessage, HumanMessage, SystemMessage, ToolMessage, message_to_dict
from langchain_core.runnables import RunnableLambda
from langchain_core.runnables.history import RunnableWithMessageHistory

from charm_checkpoint.errors import NotSerializable, StoreUnavailable
from charm_checkpoint.memory import Memory
from charm_checkpoint.messages import plans
from charm_checkpoint.messages.plans import FOLD_BYTES
from charm_checkpoint.plan import Plan, run
from charm_checkpoint.testing.base import Suite
from charm_checkpoint.testing.call_modes import CallMode, InMode, PlansInMode
from charm_checkpoint.testing.samples import chat, checkpoint, config, exact
from charm_checkpoint.testing.saver_methods import put


def sentence(source: random.Random, words: int) -> str:
    """Return text that compresses about as well as prose does."""
    common = ("state", "the", "of", "graph", "node", "channel")
    return " ".join(source.choice((*common, f"{source.random():.4f}")) for _ in range(words))


@dataclass
class Point:
    """What is no JSON, and what LangChain would make a dict of."""

    x: int = 1


def at_once(mode: CallMode, memory: Memory, calls: Sequence[tuple[str, list[Any]]]) -> None:
    """Make calls on the messages of thread t, all at once: in threads, or in tasks."""

    async def tasks() -> None:
        await asyncio.gather(*(getattr(memory, f"a{name}")("t", given) for name, given in calls))

    def threads() -> None:
        with ThreadPoolExecutor(25) as pool:
            list(pool.map(lambda call: getattr(memory, call[0])("t", call[1]), calls))

    mode.run(threads, tasks)


NO_JSON: tuple[tuple[Any, str], ...] = (
    ([{"a": 1}, {"b": [0, {1}]}], r"messages\[1\]\.b\[1\]"),
    ([{"a": float("nan")}], r"messages\[0\]\.a"),
    ([{"a": b"bytes"}], r"messages\[0\]\.a"),
    ([{"a": {1: "int key"}}], r"messages\[0\]\.a"),
    (["text"], r"messages\[0\]"),
    ("text", r"messages"),
    ({"a": 1}, r"messages: .* one dict: put it into a list"),
    (HumanMessage("hi"), r"messages: .* one HumanMessage: put it into a list"),
    (None, r"messages: .* None: an empty list is \[\]"),
    (42, r"messages: .* int"),
    ([ToolMessage("x", tool_call_id="1", artifact=[1, Point()])], r"messages\[0\]\.data\.artifact\[1\]"),
    ([AIMessage("x", response_metadata={"a": Point()})], r"messages\[0\]\.data\.response_metadata\.a"),
)
"""What are no messages, and what the error begins with."""


class ReadsApart:
    """A store's reads, each a transaction of its own; something is done once between the list and its chunks."""

    def __init__(self, memory: Memory, mode: CallMode, between: Callable[[], object]) -> None:
        self._plans = PlansInMode(memory.store, mode)
        self._between: Callable[[], object] | None = between

    def __getattr__(self, name: str) -> Any:
        return getattr(self._plans.backend, name)

    def messages(self, thread: str, known: Sequence[bytes] = ()) -> Plan[Any]:
        """Return the list as it is, before something is done."""
        yield from ()
        row = self._plans.messages(thread, known)
        if self._between is not None:
            between, self._between = self._between, None
            between()
        return row

    def chunks(self, thread: str, addresses: Collection[bytes], messages: bool = False) -> Plan[Any]:
        """Return those that are still there."""
        yield from ()
        return self._plans.chunks(thread, addresses, messages)


class Messages(Suite):
    """Saving, appending, loading and deleting messages."""

    @pytest.fixture
    def store(self, memory: Memory, mode: CallMode) -> InMode:
        """Return the store, called in this mode."""
        return InMode(memory, mode)

    def test_nothing_is_an_empty_list(self, store: InMode) -> None:
        assert store.load_messages("t") == []
        store.delete_messages("t")
        store.append_messages("t", [])
        assert store.load_messages("t") == []
        assert store.usage().threads == 0

    def test_messages_are_replaced_whole(self, store: InMode) -> None:
        for held in (
            [{"role": "user", "content": "hi", "extra": {"a": [1, 1.0, True, None]}}],
            [{"role": "user", "content": f"{n}"} for n in range(300)],
            [{"role": "user", "content": f"{n}"} for n in range(10, 290)],
            [],
            [{"n": 1}],
        ):
            store.save_messages("t", held)
            assert exact(store.load_messages("t")) == exact(held)
        assert store.load_messages("u") == []

    def test_appending_adds_at_the_end(self, store: InMode) -> None:
        expected: list[Any] = []
        for n in range(80):
            more = [{"n": n, "text": "x" * (n * 7 % 200)}] * (n % 3)
            store.append_messages("t", more)
            expected += more
        assert store.load_messages("t") == expected

    def test_a_list_that_is_replaced_while_it_is_counted_is_no_damage(self, store: InMode, memory: Memory) -> None:
        if memory.store.history is not None:
            pytest.skip("this store keeps messages in a file of JSON")
        source = random.Random(6)
        store.save_messages("t", [{"content": source.randbytes(500).hex()} for _ in range(100)])
        later = [{"content": source.randbytes(500).hex()} for _ in range(90)]
        reads: Any = ReadsApart(memory, store.mode, lambda: store.save_messages("t", later))
        history = plans.MessageHistory(reads, memory.store.budget, memory.store.limits)
        assert run(history.count("t"), next) == len(later)  # nothing is left to be executed

    def test_langchain_messages_come_back_as_dicts(self, store: InMode) -> None:
        held = chat(2)
        held[2].artifact = {"json": [1]}
        held[5].artifact = None
        store.save_messages("t", held[:3])
        store.append_messages("t", [*held[3:], {"role": "user", "content": "plain"}])
        expected = [message_to_dict(message) for message in held]
        assert store.load_messages("t") == [*expected, {"role": "user", "content": "plain"}]
        restored = store.chat_history("t").messages
        assert [exact(message) for message in restored[:-1]] == [exact(message) for message in held]
        assert restored[-1].content == "plain"

    def test_what_is_loaded_is_the_callers(self, store: InMode) -> None:
        given = [{"a": [1]}]
        store.save_messages("t", given)
        given[0]["a"].append(2)
        store.load_messages("t")[0]["a"].append(3)
        assert store.load_messages("t") == [{"a": [1]}]

    def test_what_is_not_json_is_refused_with_its_path(self, store: InMode) -> None:
        store.save_messages("t", [{"kept": 1}])
        for wrong, path in NO_JSON:
            for method in (store.save_messages, store.append_messages):
                with pytest.raises(NotSerializable, match=rf"^{path}"):
                    method("t", wrong)
            assert store.load_messages("t") == [{"kept": 1}]

    def test_deleting_messages_leaves_checkpoints_and_the_other_way_round(self, store: InMode, saver: InMode) -> None:
        put(saver, config(), checkpoint({"a": 1}))
        store.save_messages("t", [{"n": 1}])
        store.delete_messages("t")
        assert (store.load_messages("t"), len(saver.list(None))) == ([], 1)
        store.save_messages("t", [{"n": 2}])
        saver.delete_thread("t")
        assert (store.load_messages("t"), len(saver.list(None))) == ([{"n": 2}], 0)
        store.delete_thread("t")
        assert store.load_messages("t") == []
        store.append_messages("t", [{"n": 3}])
        assert store.load_messages("t") == [{"n": 3}]

    def test_appends_at_once_lose_nothing(self, memory: Memory) -> None:
        def add(number: int) -> None:
            for n in range(6):
                memory.append_messages("t", [{"by": number, "n": n}, {"by": number, "second": n}])

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(add, range(8)))
        found = memory.load_messages("t")
        assert len(found) == 96
        for number in range(8):
            mine = [message for message in found if message["by"] == number]
            assert mine == [{"by": number, key: n} for n in range(6) for key in ("n", "second")]

    def test_a_hundred_appends_at_once_are_all_there_once(self, memory: Memory, mode: CallMode) -> None:
        def written(number: int) -> list[Any]:
            text = random.Random(number).randbytes(70_000).hex() if number % 40 == 7 else "x"
            return [{"by": number, "n": n, "text": text} for n in range(2)]

        at_once(mode, memory, [("append_messages", written(number)) for number in range(100)])
        found = InMode(memory, mode).load_messages("t")
        assert sorted(found, key=lambda message: (message["by"], message["n"])) == [
            message for number in range(100) for message in written(number)
        ]
        assert [message["n"] for message in found] == [0, 1] * 100

    def test_saves_and_appends_at_once_are_none_refused(self, memory: Memory, mode: CallMode) -> None:
        InMode(memory, mode).save_messages("t", [{"saved": -1}])
        calls = [("save_messages", [{"saved": n, "text": f"{n} " * 400}] * 4) for n in range(16)]
        calls[2::2] = [("append_messages", [{"n": n}]) for n in range(7)]
        at_once(mode, memory, calls)
        found = InMode(memory, mode).load_messages("t")
        assert {message.get("saved") for message in found[:4]} == {found[0]["saved"]} != {None}
        appended = [message["n"] for message in found[4:]]
        assert len(appended) == len(set(appended)) <= 7

    def test_batches_are_folded_into_the_list(
        self, store: InMode, backend: PlansInMode, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(plans, "FOLD_BATCHES", 8)
        if store.raw.store.history is not None:
            pytest.skip("this store keeps message lists in its own way")
        expected = []
        for n in range(2 * 8 + 3):
            store.append_messages("t", [{"n": n}])
            expected.append({"n": n})
        row = backend.messages("t")
        assert (len(row.batches), row.revision) == (3, 2)
        assert store.load_messages("t") == expected
        store.append_messages("t", [{"text": random.Random(1).randbytes(FOLD_BYTES).hex()}])
        assert len(backend.messages("t").batches) == 0
        assert store.load_messages("t")[:-1] == expected
        store.append_messages("t", [{"n": "last"}])
        store.save_messages("t", expected[:5])
        assert (store.load_messages("t"), len(backend.messages("t").batches)) == (expected[:5], 0)
        for method in (store.delete_messages, store.delete_thread):
            store.append_messages("t", [{"n": "last"}])
            method("t")
            assert (store.load_messages("t"), store.usage("t").payload_bytes) == ([], 0)

    def test_a_fold_that_fails_is_not_the_appends_error(
        self, store: InMode, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        def fold(thread: str) -> Any:
            raise StoreUnavailable("gone meanwhile")

        monkeypatch.setattr(plans, "FOLD_BATCHES", 2)
        monkeypatch.setattr(store.raw._history, "fold", fold)
        for n in range(3):
            store.append_messages("t", [{"n": n}])
        assert len(store.load_messages("t")) == 3
        if store.raw.store.history is None:
            assert "gone meanwhile" in caplog.text

    def test_a_chat_history(self, store: InMode) -> None:
        history = store.raw.chat_history("t")
        held = [HumanMessage("hi", id="1"), AIMessage("hello", id="2")]
        store.mode.run(lambda: history.add_messages(held), lambda: history.aadd_messages(held))
        assert store.mode.run(lambda: history.messages, history.aget_messages) == held
        assert store.load_messages("t") == [message_to_dict(message) for message in held]
        store.mode.run(history.clear, history.aclear)
        assert history.messages == []

    def test_a_chat_history_keeps_documents(self, store: InMode) -> None:
        documents = [Document("a", metadata={"n": [1], "of": [Document("c")]}), {"more": [Document("b", id="1")]}]
        held = [
            ToolMessage("x", tool_call_id="1", artifact=documents),
            AIMessage("y", additional_kwargs={"d": documents}),
        ]
        store.append_messages("t", held)
        assert store.load_messages("t") == [message_to_dict(message) for message in held]
        history = store.raw.chat_history("t")
        assert store.mode.run(lambda: history.messages, history.aget_messages) == held

    @pytest.mark.parametrize("content", [{}, {"content": None}, {"content": ""}], ids=["left out", "null", "empty"])
    def test_a_chat_history_knows_an_assistant_that_only_calls_tools(self, store: InMode, content: Any) -> None:
        called = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"n": 1}'}}
        store.save_messages("t", [{"role": "assistant", "tool_calls": [called], **content}])
        history = store.raw.chat_history("t")
        [found] = store.mode.run(lambda: history.messages, history.aget_messages)
        assert found == AIMessage("", tool_calls=[{"name": "f", "args": {"n": 1}, "id": "c", "type": "tool_call"}])

    def test_a_message_that_langchain_does_not_know_hides_no_other(self, store: InMode) -> None:
        strange = [
            {"role": "narrator", "content": "once", "name": "n", "mood": 1},
            {"content": "no role"},
            {"role": "tool", "content": "no call"},
            {"role": "user", "content": {"no": "text"}},
            {"type": "odd", "data": {"content": ["part"], "id": "7", "additional_kwargs": {"a": 1}}},
            {"type": "human", "data": None},
            {},
        ]
        store.save_messages("t", [{"role": "user", "content": "hi"}, *strange, {"role": "assistant", "content": "ho"}])
        history = store.raw.chat_history("t")
        found = store.mode.run(lambda: history.messages, history.aget_messages)
        assert (found[0], found[-1]) == (HumanMessage("hi"), AIMessage("ho"))
        assert found[1:-1] == [
            ChatMessage(content="once", role="narrator", name="n", additional_kwargs={"mood": 1}),
            ChatMessage(content="no role", role="unknown"),
            ChatMessage(content="no call", role="tool"),
            ChatMessage(content="", role="user", additional_kwargs={"content": {"no": "text"}}),
            ChatMessage(content=["part"], role="odd", id="7", additional_kwargs={"a": 1}),
            ChatMessage(content="", role="human", additional_kwargs={"data": None}),
            ChatMessage(content="", role="unknown"),
        ]

    @pytest.mark.filterwarnings("ignore:RunnableWithMessageHistory")
    def test_a_runnable_with_history(self, store: InMode) -> None:
        def answer(messages: list[Any]) -> AIMessage:
            return AIMessage(f"{len(messages)}: {messages[-1].content}")

        chain = InMode(RunnableWithMessageHistory(RunnableLambda(answer), store.raw.chat_history), store.mode)
        for number, text in enumerate(("a", "b", "c")):
            found = chain.invoke([HumanMessage(text)], {"configurable": {"session_id": "s"}})
            assert found.content == f"{2 * number + 1}: {text}"
        assert [message["data"]["content"] for message in store.load_messages("s")] == [
            "a", "1: a", "b", "3: b", "c", "5: c",
        ]  # fmt: skip


class Growth(Suite):
    """Size grows with what changed."""

    def test_a_growing_conversation(self, saver: InMode, memory: Memory) -> None:
        source = random.Random(1)
        history: list[Any] = [SystemMessage(sentence(source, 200), id="system")]
        where: Any = config()
        for turn in range(100):
            history = [
                *history,
                HumanMessage(sentence(source, 40), id=f"{source.random()}"),
                AIMessage(sentence(source, 60), id=f"{source.random()}"),
            ]
            where = put(saver, where, checkpoint({"messages": history, "turn": turn}, version=turn), step=turn)
        text = sum(len(message.content) for message in history)
        used = InMode(memory, saver.mode).usage("t")
        assert used.checkpoints == 100
        assert used.payload_bytes < 3 * text, f"{used.payload_bytes} bytes for {text} of text"
        assert exact(saver.get(config())["channel_values"]["messages"]) == exact(history)

    def test_a_large_dict_that_changes_one_key_at_a_time(self, saver: InMode, memory: Memory) -> None:
        source = random.Random(2)
        files = {f"file {n}": source.randbytes(1000).hex() for n in range(200)}
        where = put(saver, config(), checkpoint({"files": files}))
        before = InMode(memory, saver.mode).usage("t").payload_bytes
        for n in range(50):
            files = {**files, f"file {source.randrange(200)}": source.randbytes(1000).hex()}
            where = put(saver, where, checkpoint({"files": files}, version=n))
        grown = InMode(memory, saver.mode).usage("t").payload_bytes - before
        assert grown < 50 * 5000, f"{grown} bytes for 50 changes of 2,000"
        assert saver.get(config())["channel_values"] == {"files": files}

    def test_what_is_put_again_takes_no_room(self, saver: InMode, memory: Memory) -> None:
        source = random.Random(3)
        held = {"log": [source.randbytes(50).hex() for _ in range(2000)], "text": source.randbytes(50_000).hex()}
        where = put(saver, config(), checkpoint(held))
        before = InMode(memory, saver.mode).usage("t").payload_bytes
        for n in range(5):
            where = put(saver.elsewhere(), where, checkpoint(held, version=n))
        assert InMode(memory, saver.mode).usage("t").payload_bytes - before < 5 * 1500

    def test_messages_appended_one_at_a_time(self, memory: Memory, mode: CallMode) -> None:
        store, source = InMode(memory, mode), random.Random(4)
        total = 0
        for _ in range(100):
            message = {"role": "user", "content": source.randbytes(200).hex()}
            total += 400
            store.append_messages("t", [message])
        assert store.usage("t").payload_bytes < 4 * total

    def test_messages_taken_out_are_gone_at_once(self, memory: Memory, mode: CallMode) -> None:
        store, source = InMode(memory, mode), random.Random(5)
        held = [{"content": source.randbytes(500).hex()} for _ in range(100)]
        store.save_messages("t", held)
        store.save_messages("t", held[:3])
        assert store.usage("t").payload_bytes < 3 * 1100

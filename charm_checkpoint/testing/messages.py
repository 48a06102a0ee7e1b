"""Message history and growth: what is kept of conversations, and in how many bytes."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, message_to_dict
from langchain_core.runnables import RunnableLambda
from langchain_core.runnables.history import RunnableWithMessageHistory

from charm_checkpoint.errors import NotSerializable
from charm_checkpoint.memory import Memory
from charm_checkpoint.testing.base import Suite
from charm_checkpoint.testing.half import Half, Twin
from charm_checkpoint.testing.samples import chat, checkpoint, config, exact
from charm_checkpoint.testing.saver_methods import put


def sentence(source: random.Random, words: int) -> str:
    """Return text that compresses about as well as prose does."""
    common = ("state", "the", "of", "graph", "node", "channel")
    return " ".join(source.choice((*common, f"{source.random():.4f}")) for _ in range(words))


class Messages(Suite):
    """Saving, appending, loading and deleting messages."""

    @pytest.fixture
    def store(self, memory: Memory, half: Half) -> Twin:
        """Return the store, called by this half."""
        return Twin(memory, half)

    def test_nothing_is_an_empty_list(self, store: Twin) -> None:
        assert store.load_messages("t") == []
        store.delete_messages("t")
        store.append_messages("t", [])
        assert store.load_messages("t") == []
        assert store.usage().threads == 0

    def test_messages_are_replaced_whole(self, store: Twin) -> None:
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

    def test_appending_adds_at_the_end(self, store: Twin) -> None:
        expected: list[Any] = []
        for n in range(80):
            more = [{"n": n, "text": "x" * (n * 7 % 200)}] * (n % 3)
            store.append_messages("t", more)
            expected += more
        assert store.load_messages("t") == expected

    def test_langchain_messages_come_back_as_dicts(self, store: Twin) -> None:
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

    def test_what_is_loaded_is_the_callers(self, store: Twin) -> None:
        given = [{"a": [1]}]
        store.save_messages("t", given)
        given[0]["a"].append(2)
        store.load_messages("t")[0]["a"].append(3)
        assert store.load_messages("t") == [{"a": [1]}]

    @pytest.mark.parametrize(
        ("wrong", "path"),
        [
            ([{"a": 1}, {"b": [0, {1}]}], r"messages\[1\]\.b\[1\]"),
            ([{"a": float("nan")}], r"messages\[0\]\.a"),
            ([{"a": b"bytes"}], r"messages\[0\]\.a"),
            ([{"a": {1: "int key"}}], r"messages\[0\]\.a"),
            (["text"], r"messages\[0\]"),
            ("text", r"messages"),
            ({"a": 1}, r"messages"),
        ],
    )
    def test_what_is_not_json_is_refused_with_its_path(self, store: Twin, wrong: Any, path: str) -> None:
        store.save_messages("t", [{"kept": 1}])
        for method in (store.save_messages, store.append_messages):
            with pytest.raises(NotSerializable, match=rf"^{path}"):
                method("t", wrong)
        assert store.load_messages("t") == [{"kept": 1}]

    def test_deleting_messages_leaves_checkpoints_and_the_other_way_round(self, store: Twin, saver: Twin) -> None:
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

    def test_a_chat_history(self, store: Twin) -> None:
        history = store.raw.chat_history("t")
        held = [HumanMessage("hi", id="1"), AIMessage("hello", id="2")]
        store.half.run(lambda: history.add_messages(held), lambda: history.aadd_messages(held))
        assert store.half.run(lambda: history.messages, history.aget_messages) == held
        assert store.load_messages("t") == [message_to_dict(message) for message in held]
        store.half.run(history.clear, history.aclear)
        assert history.messages == []

    @pytest.mark.filterwarnings("ignore:RunnableWithMessageHistory")
    def test_a_runnable_with_history(self, store: Twin) -> None:
        def answer(messages: list[Any]) -> AIMessage:
            return AIMessage(f"{len(messages)}: {messages[-1].content}")

        chain = Twin(RunnableWithMessageHistory(RunnableLambda(answer), store.raw.chat_history), store.half)
        for number, text in enumerate(("a", "b", "c")):
            found = chain.invoke([HumanMessage(text)], {"configurable": {"session_id": "s"}})
            assert found.content == f"{2 * number + 1}: {text}"
        assert [message["data"]["content"] for message in store.load_messages("s")] == [
            "a", "1: a", "b", "3: b", "c", "5: c",
        ]  # fmt: skip


class Growth(Suite):
    """Size grows with what changed."""

    def test_a_growing_conversation(self, saver: Twin, memory: Memory) -> None:
        source = random.Random(1)
        history: list[Any] = [SystemMessage(sentence(source, 200), id="system")]
        where: Any = config()
        for turn in range(200):
            history = [
                *history,
                HumanMessage(sentence(source, 40), id=f"{source.random()}"),
                AIMessage(sentence(source, 60), id=f"{source.random()}"),
            ]
            where = put(saver, where, checkpoint({"messages": history, "turn": turn}, version=turn), step=turn)
        text = sum(len(message.content) for message in history)
        used = Twin(memory, saver.half).usage("t")
        assert used.checkpoints == 200
        assert used.payload_bytes < 3 * text, f"{used.payload_bytes} bytes for {text} of text"
        assert exact(saver.get(config())["channel_values"]["messages"]) == exact(history)

    def test_a_large_dict_that_changes_one_key_at_a_time(self, saver: Twin, memory: Memory) -> None:
        source = random.Random(2)
        files = {f"file {n}": source.randbytes(1000).hex() for n in range(200)}
        where = put(saver, config(), checkpoint({"files": files}))
        before = Twin(memory, saver.half).usage("t").payload_bytes
        for n in range(50):
            files = {**files, f"file {source.randrange(200)}": source.randbytes(1000).hex()}
            where = put(saver, where, checkpoint({"files": files}, version=n))
        grown = Twin(memory, saver.half).usage("t").payload_bytes - before
        assert grown < 50 * 5000, f"{grown} bytes for 50 changes of 2,000"
        assert saver.get(config())["channel_values"] == {"files": files}

    def test_what_is_put_again_takes_no_room(self, saver: Twin, memory: Memory) -> None:
        source = random.Random(3)
        held = {"log": [source.randbytes(50).hex() for _ in range(2000)], "text": source.randbytes(50_000).hex()}
        where = put(saver, config(), checkpoint(held))
        before = Twin(memory, saver.half).usage("t").payload_bytes
        for n in range(5):
            where = put(saver.elsewhere(), where, checkpoint(held, version=n))
        assert Twin(memory, saver.half).usage("t").payload_bytes - before < 5 * 1500

    def test_messages_appended_one_at_a_time(self, memory: Memory, half: Half) -> None:
        store, source = Twin(memory, half), random.Random(4)
        total = 0
        for _ in range(200):
            message = {"role": "user", "content": source.randbytes(200).hex()}
            total += 400
            store.append_messages("t", [message])
        assert store.usage("t").payload_bytes < 4 * total

    def test_messages_taken_out_are_gone_at_once(self, memory: Memory, half: Half) -> None:
        store, source = Twin(memory, half), random.Random(5)
        held = [{"content": source.randbytes(500).hex()} for _ in range(100)]
        store.save_messages("t", held)
        store.save_messages("t", held[:3])
        assert store.usage("t").payload_bytes < 3 * 1100

"""Any text is safe, data is not code, and errors name the path."""

from __future__ import annotations

import sys
import threading
from collections import namedtuple
from collections.abc import Callable
from dataclasses import make_dataclass
from enum import Enum
from typing import Any

import pytest
from langchain_core.messages import AIMessage, ChatMessage, ToolMessage, message_to_dict
from pydantic import BaseModel

from charm_checkpoint.errors import NotSerializable, TypeNotLoaded
from charm_checkpoint.memory import Memory
from charm_checkpoint.testing.base import Suite, Take
from charm_checkpoint.testing.call_modes import CallMode, InMode
from charm_checkpoint.testing.samples import NUMBERS, TEXTS, Point, chat, checkpoint, config, exact
from charm_checkpoint.testing.saver_methods import config_all, put


class AnyText(Suite):
    """Texts as ids, names and values: stored exactly, and never confused."""

    def test_thread_ids(self, saver: InMode, memory: Memory, part_of: Take) -> None:
        texts = part_of(TEXTS)
        messages = InMode(memory, saver.mode)
        for number, text in enumerate(texts):
            put(saver, config(text), checkpoint({"n": number}))
            messages.save_messages(text, [{"n": number}])
        for number, text in enumerate(texts):
            found = saver.get_tuple(config(text))
            assert found.config["configurable"]["thread_id"] == text
            assert found.checkpoint["channel_values"] == {"n": number}
            assert len(saver.list(config_all(text))) == 1
            assert messages.load_messages(text) == [{"n": number}]
        assert len(saver.list(None)) == len(texts)
        # Neighbours are alike: of each two, one goes and the other stays.
        for number, text in enumerate((*texts[::2], *texts[1::2]), 1):
            messages.delete_thread(text)
            assert messages.usage().checkpoints == len(texts) - number
            if text == texts[::2][-1]:
                left = {item.config["configurable"]["thread_id"] for item in saver.list(None)}
                assert left == set(texts[1::2])
        assert saver.list(None) == []

    def test_namespaces(self, saver: InMode, part_of: Take) -> None:
        texts = part_of(TEXTS)
        for number, text in enumerate(texts):
            put(saver, config(ns=text), checkpoint({"n": number}))
        for number, text in enumerate(texts):
            [found] = saver.list(config(ns=text))
            assert (found.config["configurable"]["checkpoint_ns"], found.checkpoint["channel_values"]) == (
                text,
                {"n": number},
            )
        assert saver.list(config()) == []
        saver.prune(["t"])
        assert len(saver.list(config_all("t"))) >= len([text for text in texts if ":" not in text])

    def test_checkpoint_ids(self, strict: InMode, part_of: Take) -> None:
        texts = part_of(TEXTS)
        where: Any = config()
        for text in texts:
            where = put(strict, where, checkpoint({"id": text}, id=text))
            strict.put_writes(where, [("x", text)], "task")
        found = strict.list(config())
        assert [item.checkpoint["id"] for item in found] == [*texts][::-1]
        for text in texts:
            item = strict.get_tuple(config(id=text))
            assert (item.checkpoint["channel_values"], item.pending_writes) == ({"id": text}, [("task", "x", text)])
        assert [item.checkpoint["id"] for item in strict.list(config(), before=config(id=texts[2]))] == [
            texts[1],
            texts[0],
        ]

    def test_channels_values_and_metadata(self, saver: InMode) -> None:
        held = {text: [text, {text: text}] for text in TEXTS}
        put(saver, config(), checkpoint(held), texts=held, **{f"k{text}": text for text in TEXTS})
        found = saver.get_tuple(config())
        assert exact(found.checkpoint["channel_values"]) == exact(held)
        assert found.metadata["texts"] == held
        assert {key: value for key, value in found.metadata.items() if key[:1] == "k"} == {f"k{t}": t for t in TEXTS}

    def test_tasks_paths_and_written_channels(self, saver: InMode, part_of: Take) -> None:
        texts = part_of(TEXTS)
        where = put(saver, config())
        for text in texts:
            saver.put_writes(where, [(text, text)], text, text)
        assert saver.get_tuple(where).pending_writes == [(text, text, text) for text in sorted(texts)]

    def test_run_ids(self, saver: InMode, memory: Memory, part_of: Take) -> None:
        texts = part_of(TEXTS)
        counted = InMode(memory, saver.mode)
        where: Any = config()
        for text in texts:
            where = put(saver, where, run_id=text)
        half = len(texts) // 2
        for number, text in enumerate(texts, 1):
            saver.delete_for_runs([text])
            assert counted.usage("t").checkpoints == len(texts) - number
            if number == half:
                left = [item.metadata["run_id"] for item in saver.list(config())]
                assert left == list(texts[half:])[::-1]
        assert saver.list(config()) == []

    def test_messages(self, memory: Memory, mode: Any) -> None:
        store = InMode(memory, mode)
        held = [{text: text, "deep": [text, {text: [text]}]} for text in TEXTS]
        store.save_messages("t", held)
        assert store.load_messages("t") == held
        store.append_messages("t", [{"numbers": list(NUMBERS[:-1])}])
        assert exact(store.load_messages("t")[-1]) == exact({"numbers": list(NUMBERS[:-1])})

    def test_numbers_of_any_size(self, saver: InMode) -> None:
        where = put(saver, config(), checkpoint({"n": list(NUMBERS), "one": 2**200}), big=2**70, step=-(2**64))
        saver.put_writes(where, [("x", 2**200)], "task")
        found = saver.get_tuple(config())
        assert exact(found.checkpoint["channel_values"]) == exact({"n": list(NUMBERS), "one": 2**200})
        assert (found.metadata["big"], found.metadata["step"]) == (2**70, -(2**64))
        assert found.pending_writes == [("task", "x", 2**200)]
        assert len(saver.list(config(), filter={"big": 2**70})) == 1
        assert saver.list(config(), filter={"big": 2**70 + 1}) == []


NAMES = ("os:system", "posix:system", "builtins:eval", "subprocess:Popen", "antigravity:geohash", "this:s")
"""Functions, classes that are no data, and modules whose import would be seen."""


def make_enum(name: str, held: dict[str, Any]) -> Any:
    """Return an enum of one member."""
    return Enum(name, {"X": "true"}, module=held["__module__"], qualname=name)


PLACES = 5
"""Where a checkpoint may hold a value: in four ways in its state, and in a write."""

KINDS: dict[str, Callable[[str, dict[str, Any]], Any]] = {
    "dataclass": lambda name, held: make_dataclass(name, ["x"], namespace=held)("true"),
    "model": lambda name, held: type(name, (BaseModel,), {**held, "__annotations__": {"x": str}})(x="true"),
    "enum": lambda name, held: make_enum(name, held)("true"),
    "tuple": lambda name, held: namedtuple(name, ["x"], module=held["__module__"])("true"),
}
"""Makers of values whose classes claim names that are not theirs, by the kind of class."""


def forged(name: str, kind: str) -> Any:
    """Return a value whose class claims to be ``name``, until `disown` is called."""
    module, _, member = name.partition(":")
    value = KINDS[kind](member, {"__module__": module, "__qualname__": member})
    # From Python 3.12 on, a dataclass made by a call takes its caller's module.
    type(value).__module__ = module
    return value


def disown(value: Any) -> None:
    """Let the class of a value claim its name no longer: then nothing that is loaded has it."""
    type(value).__module__, type(value).__qualname__ = "nowhere", "Nothing"


class DataIsNotCode(Suite):
    """Nothing that is read is imported or called."""

    @pytest.fixture
    def calls(self, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
        """Return the calls that got through to what the forged data names."""
        calls: list[Any] = []
        for place in ("os.system", "posix.system", "subprocess.Popen"):
            monkeypatch.setattr(place, lambda *args, **kwargs: calls.append(args), raising=False)
        return calls

    def test_data_that_names_a_function_is_an_error(self, saver: InMode, raising: InMode, calls: list[Any]) -> None:
        # Each kind, each place, each name: that any kind may claim any name is for the serializer, not for a store.
        for number, name in enumerate(NAMES):
            value = forged(name, list(KINDS)[number % len(KINDS)])
            where, path = self.stored(saver, value, number % PLACES)
            disown(value)
            with pytest.raises(TypeNotLoaded, match=rf"^{path}.*{name}"):
                raising.elsewhere().get_tuple(where)
            assert f"Unknown('{name}" in repr(saver.elsewhere().get_tuple(where))
        assert calls == []
        assert not {"antigravity", "this"} & set(sys.modules)

    def stored(self, saver: InMode, value: Any, place: int) -> tuple[Any, str]:
        """Put a value into one of the places that may hold one; return where, and a pattern of the path to it."""
        if place == 4:
            where = put(saver, config())
            saver.put_writes(where, [("w", value)], "task")
            return where, ""
        held, path = (
            (value, r"channel_values\.x"),
            ([*({"n": n} for n in range(300)), value], r"channel_values\.x\[300\]"),
            ([value, "y" * 5000], r"channel_values\.x\[0\]"),
            ({"a": {"b": value}}, r"channel_values\.x\.a\.b"),
        )[place]
        return put(saver, config(), checkpoint({"x": held})), path

    def test_messages_name_no_classes_at_all(self, memory: Memory, mode: CallMode, calls: list[Any]) -> None:
        store = InMode(memory, mode)
        held = [message_to_dict(message) for message in chat(1)]
        held[2]["data"]["artifact"] = None
        held[0]["type"] = held[0]["data"]["type"] = "os:system"
        store.save_messages("t", held)
        assert store.load_messages("t") == held
        history = store.raw.chat_history("t")
        found = mode.run(lambda: history.messages, history.aget_messages)
        assert (type(found[0]), found[0].role, type(found[1])) == (ChatMessage, "os:system", AIMessage)
        assert calls == []


class Paths(Suite):
    """Errors name the place in the state."""

    def messages(self, artifact: Any) -> list[Any]:
        """Return messages of which the fourth holds an artifact."""
        return [*chat(1), ToolMessage("x", tool_call_id="c", artifact=artifact), *chat(2)]

    @pytest.mark.parametrize("size", [0, 2000], ids=["small", "large"])
    def test_what_cannot_be_stored_is_refused_with_its_path(self, saver: InMode, size: int) -> None:
        where = put(saver, config())
        lock = threading.Lock()
        for held, path in (
            ({"messages": self.messages(lock)}, r"channel_values\.messages\[3\]\.artifact"),
            ({"messages": self.messages({"deep": [0, lock]})}, r"channel_values\.messages\[3\]\.artifact\.deep\[1\]"),
            ({"files": {"a": "x" * size, "b c": lock}}, r"channel_values\.files\['b c'\]"),
            ({"list": [*({"n": n} for n in range(size)), lock]}, rf"channel_values\.list\[{size}\]"),
            ({"point": Point(1, ["x" * size, lock])}, r"channel_values\.point\.y\[1\]"),
            ({"lock": lock}, r"channel_values\.lock"),
        ):
            with pytest.raises(NotSerializable, match=rf"^{path}: .*lock"):
                put(saver, where, checkpoint(held))
        with pytest.raises(NotSerializable, match=r"writes\.x\[1\].*lock"):
            saver.put_writes(where, [("w", 1), ("x", [1, lock])], "task")
        with pytest.raises(NotSerializable, match=r"metadata\.m.*lock"):
            put(saver, where, m=lock)
        assert saver.list(config()) == [saver.get_tuple(where)]
        assert saver.get_tuple(where).pending_writes == []

    @pytest.mark.parametrize("extra", [0, 300], ids=["small", "large"])
    def test_what_cannot_be_revived_is_named_with_its_path(self, saver: InMode, raising: InMode, extra: int) -> None:
        bare = InMode(raising.raw.with_allowlist(()), saver.mode)
        padding = [{"n": n} for n in range(extra)]
        for held, path in (
            ({"messages": [*self.messages(Point(1)), *padding]}, r"channel_values\.messages\[3\]\.artifact"),
            ({"list": [*padding, {"a": [Point(1)]}, *padding]}, rf"channel_values\.list\[{extra}\]\.a\[0\]"),
            ({"big": [*padding, Point("x" * 5000)]}, rf"channel_values\.big\[{extra}\]"),
            ({"map": {"a": 1, "b c": Point(1), "n": padding}}, r"channel_values\.map\['b c'\]"),
            ({"point": Point(1)}, r"channel_values\.point"),
        ):
            where = put(saver, config(), checkpoint(held))
            assert exact(saver.get(where)["channel_values"]) == exact(held)
            with pytest.raises(TypeNotLoaded, match=rf"^{path}: .*Point"):
                bare.get_tuple(where)
        saver.put_writes(where, [("x", [1, Point(1)])], "task")
        with pytest.raises(TypeNotLoaded, match=r"Point"):
            bare.get_tuple(where)

    def test_a_class_that_is_not_loaded_is_named(self, saver: InMode, raising: InMode) -> None:
        value = forged("gone.module:Thing", "dataclass")
        where = put(saver, config(), checkpoint({"x": [0, value]}))
        disown(value)
        with pytest.raises(TypeNotLoaded, match=r"^channel_values\.x\[1\]: .*gone\.module:Thing"):
            raising.get_tuple(where)
        assert "gone.module" not in sys.modules

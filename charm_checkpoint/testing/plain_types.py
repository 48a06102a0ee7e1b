"""Subclasses of plain types, which libraries hand out where plain values are meant, in every place of a store."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from datetime import date
from enum import Enum, IntEnum
from functools import partial
from itertools import product
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.runnables.utils import AddableDict

from charm_checkpoint.errors import NotSerializable
from charm_checkpoint.memory import Memory
from charm_checkpoint.saver.refs import checkpoint_ref
from charm_checkpoint.testing.base import Suite
from charm_checkpoint.testing.call_modes import InMode
from charm_checkpoint.testing.samples import Color, Point, chat, checkpoint, config, exact, versions
from charm_checkpoint.testing.saver_methods import config_all, put


class Text(str):
    """Text with more to it, as a parser's."""


class Loud(str):
    """Text that is equal to nothing but itself."""

    __slots__ = ()
    __hash__ = object.__hash__

    def __eq__(self, other: object) -> bool:
        return self is other


class Items(list[Any]):
    """A list that hides what it holds from those who ask it."""

    def __iter__(self) -> Any:
        raise AssertionError("asked")


class Fields(dict[Any, Any]):
    """A dict that makes up what it holds for those who ask it."""

    def items(self) -> Any:
        raise AssertionError("asked")


def role() -> Any:
    """Return an enum of texts that can be forgotten: see `forget`."""
    return Enum("Role", {"ADMIN": "admin", "LOG": "log"}, type=str, module=__name__)


def forget(cls: Any) -> None:
    """Let nothing that is loaded have the class's name."""
    cls.__module__, cls.__qualname__ = "nowhere", "Nothing"


class Level(IntEnum):
    """An enum of numbers."""

    HIGH = 3


class PlainTypes(Suite):
    """An instance of a subclass is kept as its plain base; metadata and messages are plain JSON."""

    @pytest.mark.parametrize("size", [1, 400], ids=["small", "large"])
    def test_states_and_writes_keep_the_plain_base(self, saver: InMode, size: int) -> None:
        text = AIMessage("hi").text
        made = {
            "text": text,
            "list": Items([{"n": n, "text": Text(f"element {n}")} for n in range(size)]),
            "dict": AddableDict({Text(f"key {n}"): Fields(v=[Text("v" * 99)]) for n in range(size)}),
            "inner": [Items([Text("x" * 9)]) for _ in range(size)],
        }
        plain = {
            "text": "hi",
            "list": [{"n": n, "text": f"element {n}"} for n in range(size)],
            "dict": {f"key {n}": {"v": ["v" * 99]} for n in range(size)},
            "inner": [["x" * 9] for _ in range(size)],
        }
        where = put(saver, config(), checkpoint(made))
        assert exact(saver.elsewhere().get(where)["channel_values"]) == exact(plain)
        saver.put_writes(where, list(made.items()), "task")
        found = saver.get_tuple(where).pending_writes
        assert exact([(channel, value) for _, channel, value in found]) == exact(list(plain.items()))

    def test_a_large_dict_of_a_subclass_is_stored_by_its_elements(self, saver: InMode, memory: Memory) -> None:
        files = AddableDict({f"file {n}": f"{n} " * 400 for n in range(200)})
        where = put(saver, config(), checkpoint({"files": files}))
        before = InMode(memory, saver.mode).usage("t").payload_bytes
        files["file 7"] = "changed"
        put(saver, where, checkpoint({"files": files}, version=2))
        assert InMode(memory, saver.mode).usage("t").payload_bytes - before < 10_000
        assert saver.get(config())["channel_values"] == {"files": dict(files)}

    def test_messages_and_documents_hold_plain_values(self, saver: InMode) -> None:
        text = AIMessage("hi").text
        held = [HumanMessage(text, additional_kwargs={text: Fields(a=Items([text]))}), *chat(1)]
        where = put(saver, config(), checkpoint({"messages": held}))
        found = saver.get(where)["channel_values"]["messages"][0]
        assert exact(found) == exact(HumanMessage("hi", additional_kwargs={"hi": {"a": ["hi"]}}))

    @pytest.mark.parametrize("size", [0, 300], ids=["small", "large"])
    def test_keys_that_become_equal_are_refused(self, saver: InMode, size: int) -> None:
        padding = {f"key {n}": "x" * 9 for n in range(size)}
        for held in ({Loud("a"): 1, Loud("a"): 2}, {(Loud("a"), 1): 1, ("a", 1): 2}, {Loud("a"): 1, "a": 2}):
            with pytest.raises(NotSerializable, match=r"^channel_values\.x: .*'a'.* once they are stored"):
                put(saver, config(), checkpoint({"x": {**padding, **held}}))
        with pytest.raises(NotSerializable, match=r"^channel_values\.x\[0\]: .*'a'.* once they are stored"):
            put(saver, config(), checkpoint({"x": [{Loud("a"), "a"}, *padding.values()]}))

    def test_metadata_is_plain_json_that_needs_no_class(self, saver: InMode) -> None:
        kind = role()
        where: Any = config()
        where["configurable"] |= {"role": kind.ADMIN, "level": Level.HIGH, kind.LOG: Text("key")}
        where["metadata"] = {"text": Text("t"), "ratio": type("Ratio", (float,), {})(0.5)}
        odd = {
            "plain": Color.RED, "day": date(2026, 1, 2), "point": Point(1, Level.HIGH), "raw": b"a\xff",
            "pair": (1, Text("x")), "keys": {1: 1, kind.ADMIN: Items([1])}, "set": {2, 1}, "error": ValueError("x"),
            "sorted": OrderedDict(a=Fields(b=1)), "big": 2**70, "huge": 10**5000,
        }  # fmt: skip
        put(saver, where, **odd)
        expected = {
            "role": "admin", "level": 3, "log": "key", "text": "t", "ratio": 0.5, "plain": "red", "day": "2026-01-02",
            "point": {"x": 1, "y": 3}, "raw": "a\\xff", "pair": [1, "x"], "keys": {"1": 1, "admin": [1]},
            "set": [1, 2], "error": "ValueError('x')", "sorted": {"a": {"b": 1}}, "big": 2**70,
        }  # fmt: skip
        filters = [
            {"role": kind.ADMIN, "level": Level.HIGH}, {"plain": Color.RED, "pair": (1, "x")}, {kind.LOG: "key"},
            {"day": date(2026, 1, 2), "raw": b"a\xff"}, {"huge": 10**5000},
            *({key: value} for key, value in expected.items()),
        ]  # fmt: skip
        for filter in filters:
            assert len(saver.list(config(), filter=filter)) == 1, filter
        assert saver.list(config(), filter={"role": kind.LOG}) == saver.list(config(), filter={"level": "3"}) == []
        forget(kind)
        metadata = saver.elsewhere().get_tuple(config()).metadata
        assert {key: exact(metadata[key]) for key in expected} == {k: exact(v) for k, v in expected.items()}

    def test_classes_in_the_metadata_of_an_older_version_hide_nothing(self, saver: InMode) -> None:
        kind = role()
        pure: Any = Enum("pure", {"A": (1,)}, module=__name__)
        where: Any = None
        for n in range(3):
            made = checkpoint({"n": n})
            old = {"source": "loop", "step": n, "role": kind.ADMIN, "pure": pure.A, "run_id": f"r{n}", kind.LOG: n}
            self.put_as_it_comes(saver, where or config(), made, old)
            where = config(id=made["id"])
        found = [item.metadata["role"] for item in saver.list(config(), filter={"role": "admin"})]
        assert [type(value) for value in found] == [kind] * 3
        for cls in (kind, pure):
            forget(cls)
        found = [item.metadata for item in saver.elsewhere().list(config(), filter={"role": "admin"})]
        assert [(item["role"], item["pure"], item["log"]) for item in found] == [("admin", "A", n) for n in (2, 1, 0)]
        saver.delete_for_runs(["r1"])
        saver.prune(["t"])
        assert [item.checkpoint["channel_values"] for item in saver.list(config_all("t"))] == [{"n": 2}]

    def put_as_it_comes(self, saver: InMode, where: Any, made: Any, metadata: Any) -> None:
        """Put a checkpoint as an earlier version did: with its metadata as it is."""
        store, plans = saver.raw._store, saver.raw._plans
        plan = partial(plans.put, checkpoint_ref(where), made, metadata, versions(made), "warn", None)
        saver.mode.run(lambda: store.run(plan, write=True), lambda: store.arun(plan, write=True)).remember()

    def test_channels_named_by_an_enum_are_named_by_its_text(self, saver: InMode, graphs: Any) -> None:
        kind = role()
        graph = InMode(graphs.counting(saver.raw, key=kind.LOG), saver.mode)
        graph.invoke({"log": ["in"]}, config(), durability="sync")
        forget(kind)
        other = InMode(graphs.counting(saver.raw), saver.mode.elsewhere())
        other.invoke({"log": ["again"]}, config())
        assert other.get_state(config()).values["log"] == ["in", "one", "two", "three", "again", "one", "two", "three"]
        for item in saver.list(config()):
            names = [*item.checkpoint["channel_versions"], *(item.checkpoint["updated_channels"] or ())]
            assert {type(name) for name in names} == {str}

    def test_messages_of_subclasses_are_plain_json(self, memory: Memory, saver: InMode) -> None:
        kind, store = role(), InMode(memory, saver.mode)
        given = {
            "role": kind.ADMIN,
            "content": AIMessage("hi").text,
            Text("level"): Level.HIGH,
            "more": Items([Text()]),
        }
        plain = {"role": "admin", "content": "hi", "level": 3, "more": [""]}
        store.save_messages("t", [Fields(given)])
        forget(kind)
        store.append_messages("t", [given])
        assert exact(store.load_messages("t")) == exact([plain, plain])
        with pytest.raises(NotSerializable, match=r"^messages\[0\]\.a\.k: another key is the same"):
            store.append_messages("t", [{"a": {Loud("k"): 1, "k": 2}}])


DEEP = (150, 240, 600)
"""Levels that can be stored, that can in some places, and that cannot."""


def nested(levels: int, size: int) -> Any:
    """Return dicts inside each other, each with a text of that size."""
    value: Any = "end"
    for n in range(levels):
        value = {"text": "x" * size, "n": n, "in": value}
    return value


def is_stored(write: Callable[[], object], path: str) -> bool:
    """Say whether a write is done, or refused with its path for what is too deep."""
    try:
        write()
    except NotSerializable as error:
        assert str(error).startswith(path) and "200 levels" in error.reason
        return False
    return True


class Depth(Suite):
    """What is nested is read, or refused when it is written."""

    def test_a_state_is_read_however_deep_it_is(self, saver: InMode) -> None:
        for levels, size in product(DEEP, (10, 5000)):
            value, thread = nested(levels, size), config(f"{levels} {size}")
            if is_stored(lambda: put(saver, thread, checkpoint({"x": value})), "channel_values.x"):  # noqa: B023
                assert levels < 600 and saver.elsewhere().get(thread)["channel_values"] == {"x": value}
            else:
                assert levels > 150 and saver.get(thread) is None

    @pytest.mark.parametrize("levels", DEEP)
    def test_writes_metadata_and_messages_are_read_however_deep_they_are(
        self, saver: InMode, memory: Memory, levels: int
    ) -> None:
        store, value, where = InMode(memory, saver.mode), nested(levels, 10), put(saver, config())
        written = is_stored(lambda: saver.put_writes(where, [("x", value)], "task"), "writes.x")
        assert saver.get_tuple(where).pending_writes == [("task", "x", value)] * written
        described = is_stored(lambda: put(saver, where, m=value), "metadata.m")
        assert saver.get_tuple(config()).metadata.get("m") == (value if described else None)
        listed = is_stored(lambda: store.save_messages("t", [value]), "messages[0]")
        assert store.load_messages("t") == [value] * listed
        assert (written and described and listed) or levels > 150

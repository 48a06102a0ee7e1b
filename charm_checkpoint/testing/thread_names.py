"""Whatever names a thread is taken by every method that takes one, and refused by every one alike."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from charm_checkpoint.errors import ConfigError
from charm_checkpoint.memory import Memory
from charm_checkpoint.testing.base import Suite
from charm_checkpoint.testing.call_modes import CallMode, InMode
from charm_checkpoint.testing.samples import checkpoint
from charm_checkpoint.testing.saver_methods import put


class Text(str):
    """Text of a class of its own, which shows itself otherwise."""

    def __str__(self) -> str:
        return "another"

    __repr__ = __str__


class Member(str, Enum):
    """An enum of texts."""

    THREAD = "member"


TAKEN = [
    (42, "42"),
    (2**70, str(2**70)),
    (UUID(int=7), str(UUID(int=7))),
    (Text("own"), "own"),
    (Member.THREAD, "member"),
    ("", ""),
]
REFUSED = [True, 1.5, b"bytes", ["list"], Path("path"), object()]


def takes(store: InMode, saver: InMode, given: Any, name: str) -> None:
    """Call every method with a thread's name, and have it leave the store as it was."""

    def config(thread: Any) -> Any:
        return {"configurable": {"thread_id": thread}}

    put(saver, put(saver, config(given), checkpoint()), checkpoint())
    store.save_messages(given, [{"n": 1}])
    store.append_messages(given, [{"n": 2}])
    for thread in (given, name):
        assert saver.get_tuple(config(thread)).config["configurable"]["thread_id"] == name
        assert len(saver.list(config(thread))) == 2
        assert len(store.load_messages(thread)) == 2
        assert store.usage(thread).checkpoints == 2
    assert store.raw.chat_history(given)._thread == name
    assert [type(item.thread_id) for item in store.threads()] == [str]
    saver.copy_thread(given, "copy")
    assert store.usage("copy").checkpoints == 2
    saver.delete_thread("copy")
    saver.copy_thread(name, "copy")
    saver.prune([given])
    assert store.usage(name).checkpoints == 1
    store.delete_messages(given)
    assert store.load_messages(name) == []
    store.delete_thread(given)
    assert [item.thread_id for item in store.threads()] == ["copy"]
    saver.copy_thread("copy", given)
    assert saver.get_tuple(config(name)) is not None
    saver.delete_thread(given)
    assert saver.get_tuple(config(name)) is None
    saver.delete_thread("copy")


def refuses(store: InMode, saver: InMode, given: Any) -> None:
    """Call every method with what names no thread."""
    config = {"configurable": {"thread_id": given}}
    calls: list[Callable[[], Any]] = [
        lambda: saver.get_tuple(config),
        lambda: saver.list(config),
        lambda: saver.list(None, before=config),
        lambda: saver.put(config, checkpoint(), {}, {}),
        lambda: saver.put_writes(config, [], "task"),
        lambda: saver.delete_thread(given),
        lambda: saver.copy_thread(given, "t"),
        lambda: saver.copy_thread("t", given),
        lambda: saver.prune([given]),
        lambda: saver.get_delta_channel_history(config=config, channels=[]),
        lambda: store.load_messages(given),
        lambda: store.save_messages(given, []),
        lambda: store.append_messages(given, []),
        lambda: store.delete_messages(given),
        lambda: store.delete_thread(given),
        lambda: store.raw.chat_history(given),
        lambda: store.usage(given),
    ]
    for call in calls:
        with pytest.raises(ConfigError, match=f"thread_id must be text.*not {type(given).__name__}"):
            call()


class ThreadNames(Suite):
    """Every method, by names of every type."""

    @pytest.fixture
    def store(self, memory: Memory, mode: CallMode) -> InMode:
        """Return the store, called in this mode."""
        return InMode(memory, mode)

    def test_every_method_takes_it(self, store: InMode, saver: InMode) -> None:
        for given, name in TAKEN:
            takes(store, saver, given, name)

    def test_every_method_refuses_it(self, store: InMode, saver: InMode) -> None:
        for given in REFUSED:
            refuses(store, saver, given)

    def test_what_bounds_a_listing_is_taken_too(self, saver: InMode) -> None:
        first = put(saver, {"configurable": {"thread_id": 42}}, checkpoint())
        put(saver, first, checkpoint())
        bound = {"configurable": {"thread_id": 42, "checkpoint_id": "0"}}
        assert saver.list(None, before=bound) == []
        head = saver.get_tuple({"configurable": {"thread_id": 42}}).config["configurable"]["checkpoint_id"]
        bound["configurable"]["checkpoint_id"] = head
        assert len(saver.list(None, before=bound)) == 1
        assert len(saver.list({"configurable": {"thread_id": UUID(int=7)}})) == 0

    def test_nothing_is_deleted_for_what_names_no_run(self, saver: InMode) -> None:
        put(saver, {"configurable": {"thread_id": "t"}}, checkpoint(), run_id="r")
        put(saver, {"configurable": {"thread_id": "u"}}, checkpoint())
        for given in (None, True, 1.5, b"run", ["list"]):
            with pytest.raises(ConfigError, match=f"run_id must be text, not {type(given).__name__}"):
                saver.delete_for_runs(["r", given])
        assert len(saver.list(None)) == 2

    def test_runs_may_be_named_so_too(self, saver: InMode) -> None:
        put(saver, {"configurable": {"thread_id": "u"}}, checkpoint(), run_id="one of nobody's")
        for given, name in TAKEN[:-1]:
            put(saver, {"configurable": {"thread_id": "t"}}, checkpoint(), run_id=name)
            if type(given) is int:
                put(saver, {"configurable": {"thread_id": "v"}}, checkpoint(), run_id=given)
            saver.delete_for_runs(iter([given]))
            assert [found.config["configurable"]["thread_id"] for found in saver.list(None)] == ["u"]

    def test_one_name_is_no_list_of_them(self, saver: InMode) -> None:
        for name in ("1", "2"):
            put(saver, {"configurable": {"thread_id": name}}, checkpoint(), run_id=name)
        for given in ("12", Text("12"), b"12", 12, UUID(int=12), None, 1.5):
            for call in (partial(saver.prune, strategy="delete"), saver.delete_for_runs):
                with pytest.raises(ConfigError, match=r"a list of \w+s is expected, not .*" + type(given).__name__):
                    call(given)
        with pytest.raises(ConfigError, match="must be text"):
            saver.prune(["1", None], strategy="delete")
        assert len(saver.list(None)) == 2

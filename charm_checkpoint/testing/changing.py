"""A state that changes while it is saved: LangGraph saves in threads of its own while nodes go on."""

from __future__ import annotations

import copy
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from langchain_core.messages import AIMessage

from charm_checkpoint.memory import Memory
from charm_checkpoint.testing.base import Suite
from charm_checkpoint.testing.call_modes import CallMode, InMode
from charm_checkpoint.testing.samples import checkpoint, config, exact

SECONDS = max(float(os.environ.get("CHARM_HUNT_SECONDS", "0")), 0.2)
"""How long threads change one state."""


@dataclass
class Desk:
    """An object of a state, with containers of its own."""

    notes: list[Any] = field(default_factory=list)
    done: dict[str, Any] = field(default_factory=dict)


def state() -> dict[str, Any]:
    """Return a state with something of every form that changes in place."""
    return {
        "rows": [{"n": n, "text": "old", "tags": ["a"]} for n in range(300)],
        "done": {f"key {n}": {"v": "old"} for n in range(60)},
        "numbers": [0.5] * 200,
        "messages": [AIMessage(f"old {n}", id=f"{n}", response_metadata={"v": "old"}) for n in range(40)],
        "desk": Desk([f"note {n}" for n in range(50)], {f"{n}": (n, ["old"]) for n in range(50)}),
        "mixed": {1: {0, 1}, "tuple": ([1], {"v": "old"}), "nested": {"rows": [{"text": "old " * 60}] * 40}},
        "small": {"v": "old"},
    }


def set_all(live: dict[str, Any], to: str) -> None:
    """Change every value, and no container's size."""
    for row in live["rows"]:
        row["text"] = to
    for value in live["done"].values():
        value["v"] = to
    live["numbers"][:] = [float(len(to))] * len(live["numbers"])
    for message in live["messages"]:
        message.content = to
        message.response_metadata["v"] = to
    for _, notes in live["desk"].done.values():
        notes[0] = to
    live["mixed"]["tuple"][1]["v"] = to
    live["mixed"]["nested"]["rows"][7] = {"text": to * 60}
    live["small"]["v"] = to


def grow(live: dict[str, Any], to: str) -> None:
    """Make every container larger."""
    live["rows"][0:0] = [{"n": -1, "text": to, "tags": []}] * 30
    live["done"].update({f"{to} {n}": {"v": to} for n in range(30)})
    live["numbers"].extend([1.5] * 30)
    live["messages"].append(AIMessage(to, id=to))
    live["desk"].notes.append(to)
    live["desk"].done[to] = (0, [to])
    live["mixed"][to] = {to}
    live["mixed"][1].add(sum(map(ord, to)) % 5)  # the order of such small numbers does not depend on their past
    live["mixed"]["tuple"][0].append(to)
    live["small"][to] = to


def shrink(live: dict[str, Any], to: str) -> None:
    """Make every container smaller."""
    for name in ("rows", "numbers", "messages"):
        del live[name][: len(live[name]) // 2]
    for mapping in (live["done"], live["desk"].done, live["mixed"]):
        for key in list(mapping)[::2]:
            if key not in (1, "tuple", "nested"):
                mapping.pop(key, None)
    del live["mixed"]["nested"]["rows"][20:]
    live["mixed"]["tuple"][0].clear()


CHANGES: dict[str, Callable[[dict[str, Any], str], None]] = {"set": set_all, "grow": grow, "shrink": shrink}


@contextmanager
def changed_by_a_thread(live: dict[str, Any]) -> Iterator[None]:
    """Let another thread change a state without pause, as often as the interpreter lets it."""
    stop, failed = threading.Event(), list[BaseException]()

    def change() -> None:
        try:
            turn = 0
            while not stop.is_set():
                turn += 1
                set_all(live, f"turn {turn}")
                grow(live, f"more {turn % 5}")
                while len(live["rows"]) > 300 or len(live["messages"]) > 40:
                    shrink(live, "")
        except BaseException as error:
            failed.append(error)

    interval = sys.getswitchinterval()
    thread = threading.Thread(target=change)
    sys.setswitchinterval(1e-6)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        sys.setswitchinterval(interval)
    assert not failed, failed


def save(saver: InMode, where: Any, live: dict[str, Any], version: int) -> Any:
    """Put a state as it is, all of it under a new version."""
    return saver.put(where, checkpoint(live, version=version), {"source": "loop"}, dict.fromkeys(live, version))


class Changing(Suite):
    """Whatever changes under a save, it succeeds, and the next one notices."""

    def test_a_state_that_a_thread_changes_all_the_time_is_saved(self, saver: InMode) -> None:
        live = state()
        where, version = config(), 0
        with changed_by_a_thread(live):
            until = time.monotonic() + SECONDS
            while version < 3 or time.monotonic() < until:
                version += 1
                where = save(saver, where, live, version)
                saver.put_writes(where, [*copy.copy(live).items()], f"task {version}")
        found = saver.get_tuple(where)
        values = found.checkpoint["channel_values"]
        assert {channel for _, channel, _ in found.pending_writes} == set(values) == set(live)
        assert all(row.keys() == {"n", "text", "tags"} for row in values["rows"])
        where = save(saver, where, live, version + 1)
        assert exact(saver.get(where)["channel_values"]) == exact(live)

    def test_metadata_and_messages_that_a_thread_changes_all_the_time_are_saved(
        self, memory: Memory, mode: CallMode, saver: InMode
    ) -> None:
        live, where, turns, store = state(), config(), 0, InMode(memory, mode)
        with changed_by_a_thread(live):
            until = time.monotonic() + SECONDS
            while turns < 3 or time.monotonic() < until:
                turns += 1
                where = saver.put(where, checkpoint(), {"source": "loop", "told": live}, {})
                json = {name: live[name] for name in ("rows", "done", "numbers", "small")}
                store.save_messages("t", [{"role": "user", "content": json}, *live["messages"]])
        assert saver.get_tuple(where).metadata["told"].keys() == live.keys()
        assert store.load_messages("t")[0]["content"].keys() == json.keys()

    def test_nodes_that_change_the_state_in_place(self, saver: InMode, graphs: Any) -> None:
        for number in range(3):
            graph = graphs.meddling(saver.raw)
            end = InMode(graph, saver.mode).invoke({"done": {}, "step": 0}, config(f"meddling {number}"))
            assert len(end["done"]) == 6 * 200
            held = saver.get(config(f"meddling {number}"))["channel_values"]
            assert held["done"] == end["done"]

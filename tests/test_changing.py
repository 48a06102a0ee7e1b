"""A state that changes at any moment while it is saved: nothing fails, and the next save notices."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from charm_checkpoint import Memory, open_memory
from charm_checkpoint.testing.call_modes import BlockingMode, InMode
from charm_checkpoint.testing.changing import CHANGES, save, state
from charm_checkpoint.testing.moments import Moments, sample
from charm_checkpoint.testing.samples import checkpoint, config, exact
from charm_checkpoint.values import json_values

MOMENTS = 5
"""At how many moments of each save something changes, but in a hunt."""


@pytest.fixture(params=["memory://", "sqlite:///{}/charm.db"], ids=["ram", "sqlite"])
def memory(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    with open_memory(request.param.format(tmp_path)) as memory:
        yield memory


@pytest.fixture
def saver(memory: Memory) -> InMode:
    return InMode(memory.get_langgraph_checkpointer(), BlockingMode())


@pytest.mark.parametrize("change", list(CHANGES))
def test_a_change_at_any_moment_of_a_save_is_noticed_by_the_next(saver: InMode, change: str) -> None:
    live = state()
    where = save(saver, config("counted"), live, 1)
    count = Moments().count(lambda: save(saver, where, live, 2))
    for number, moment in enumerate(sample(count, MOMENTS)):
        begin_and_change(saver, f"{change} {number}", change, moment)


def begin_and_change(saver: InMode, thread: str, change: str, moment: int) -> None:
    """Save a state, then save it again while it changes at a moment, and once more when it is at rest."""
    live = state()
    where = save(saver, config(thread), live, 1)
    live["rows"][5]["text"] = "changed before"
    Moments().run(lambda: save(saver, where, live, 2), moment, lambda: CHANGES[change](live, "new"))
    where = save(saver, saver.get_tuple(config(thread)).config, live, 3)
    assert exact(saver.get(where)["channel_values"]) == exact(live)


@pytest.mark.parametrize("change", list(CHANGES))
def test_writes_that_change_at_any_moment_are_stored(saver: InMode, change: str) -> None:
    where = save(saver, config(), {"a": 1}, 1)

    def put_writes() -> None:
        saver.put_writes(where, list(live.items()), f"task {number}")

    live, number = state(), 0
    for number, moment in enumerate(sample(Moments().count(put_writes), MOMENTS), 1):
        live = state()
        Moments().run(put_writes, moment, lambda: CHANGES[change](live, "new"))  # noqa: B023
        written = [item for item in saver.get_tuple(where).pending_writes if item[0] == f"task {number}"]
        assert [channel for _, channel, _ in written] == list(live)


@pytest.mark.parametrize("change", list(CHANGES))
def test_metadata_and_messages_that_change_at_any_moment_are_stored(memory: Memory, saver: InMode, change: str) -> None:
    live: dict[str, Any] = {}

    def put() -> None:
        told = {name: live[name] for name in ("done", "mixed", "small")}
        saver.put(config(f"{live['moment']}"), checkpoint(), {"told": told}, {})

    def save_messages() -> None:
        memory.save_messages("t", [{"content": live["done"]}, *live["messages"][:3]])

    for store in (put, save_messages):
        moments = Moments([str(json_values.__file__)])
        live = {**state(), "moment": 0}
        for moment in sample(moments.count(store), MOMENTS):
            live = {**state(), "moment": moment}
            moments.run(store, moment, lambda: CHANGES[change](live, "new"))  # noqa: B023

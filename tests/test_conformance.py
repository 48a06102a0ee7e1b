"""LangGraph's own conformance suite: 8 capabilities of 8, on every store, in both modes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import pytest
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.conformance import checkpointer_test, validate
from langgraph.checkpoint.conformance.capabilities import Capability

from charm_checkpoint import open_memory


def blocking(name: str) -> Any:
    async def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        return getattr(self.saver, name)(*args, **kwargs)

    return call


class Blocking(BaseCheckpointSaver[Any]):
    """Answers LangGraph's suite, which calls async methods only, with the blocking ones."""

    def __init__(self, saver: BaseCheckpointSaver[Any]) -> None:
        super().__init__(serde=saver.serde)
        self.saver = saver

    def get_next_version(self, current: Any, channel: None) -> Any:
        return self.saver.get_next_version(current, channel)

    async def alist(self, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        for item in self.saver.list(*args, **kwargs):
            yield item


for name in (
    "get_tuple", "put", "put_writes", "delete_thread", "delete_for_runs", "copy_thread", "prune",
    "get_delta_channel_history",
):  # fmt: skip
    setattr(Blocking, f"a{name}", blocking(name))


@pytest.mark.parametrize("mode", ["blocking", "async"])
def test_conformance(url: str, mode: str) -> None:
    @checkpointer_test(name=f"charm-checkpoint, {mode}")
    async def make() -> AsyncGenerator[BaseCheckpointSaver[Any], None]:
        async with open_memory(url) as memory:
            saver = memory.get_langgraph_checkpointer()
            yield Blocking(saver) if mode == "blocking" else saver

    report = asyncio.run(validate(make))
    failures = {name: result.failures for name, result in report.results.items() if not result.passed}
    assert failures == {}
    assert len(report.results) == len(Capability) == 8
    assert sum(result.tests_passed for result in report.results.values()) >= 80

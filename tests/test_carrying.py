"""What ordinary runs pay for what a put may take over from its parent: nothing, whatever the store is."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from langchain_core.messages import HumanMessage

from charm_checkpoint.testing.base import Suite
from charm_checkpoint.testing.call_modes import InMode
from charm_checkpoint.testing.samples import config

KINDS = ("chat", "counting", "branching", "nested", "delta")
"""Sample graphs of which every put is an ordinary one."""


class TestOrdinaryRuns(Suite):
    """Runs of one version of a program alone."""

    @pytest.fixture
    def url(self) -> str:
        return "memory://"

    def test_ordinary_runs_ask_for_no_parent(self, saver: InMode, graphs: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        def asked(*args: Any) -> Any:
            raise AssertionError(f"the store was asked for {args}")

        monkeypatch.setattr(saver.raw._plans.reads, "parent", asked)
        for kind, durability in itertools.product(KINDS, ("async", "exit")):
            graph = InMode(getattr(graphs, kind)(saver.raw), saver.mode)
            where = config(f"{kind} {durability}")
            given: dict[str, Any] = {"log": [1]}
            for n in range(2):
                if kind == "chat":
                    given = {"messages": [HumanMessage(f"q{n}", id=f"q{n}")]}
                graph.invoke({**given, **({"plain": []} if kind == "delta" else {})}, where, durability=durability)
            graph.update_state(where, given)

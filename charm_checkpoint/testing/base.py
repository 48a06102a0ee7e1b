"""The fixtures of the contract suite."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any, TypeAlias

import pytest

from charm_checkpoint.contract import capabilities
from charm_checkpoint.memory import Memory
from charm_checkpoint.saver.checkpointer import CharmSaver
from charm_checkpoint.testing.call_modes import CALL_MODES, CallMode, InMode, ItemsInMode, PlansInMode
from charm_checkpoint.values.serde import Serializer

Open: TypeAlias = Callable[..., Memory]


class Suite:
    """Fixtures that every part of the suite builds on; ``url`` is the adopter's."""

    @pytest.fixture(params=list(CALL_MODES))
    def mode(self, request: pytest.FixtureRequest) -> Iterator[CallMode]:
        """Yield one way of calling, blocking or async."""
        mode = CALL_MODES[request.param]()
        yield mode
        mode.close()

    @pytest.fixture
    def opened(self, url: str, mode: CallMode) -> Iterator[Open]:
        """Yield a function that opens the store, with options; what it opened is closed after the test."""
        memories: list[Memory] = []

        def open_again(**options: Any) -> Memory:
            memories.append(Memory({"url": url}, **options))
            return memories[-1]

        yield open_again
        for memory in memories:
            leased = getattr(memory.store.driver, "leased", None)
            assert leased is None or leased() == 0, "a connection was not given back"
            InMode(memory, mode).close()

    @pytest.fixture
    def memory(self, opened: Open) -> Memory:
        """Return the store."""
        return opened()

    @pytest.fixture
    def second(self, opened: Open, memory: Memory) -> Memory:
        """Return the store opened once more, as another process would."""
        if not capabilities(memory.store.backend).processes:
            pytest.skip("this store does not declare the ability `processes`")
        return opened()

    @pytest.fixture
    def saver(self, memory: Memory, mode: CallMode) -> InMode:
        """Return the store's checkpointer, called in this mode."""
        return InMode(memory.get_langgraph_checkpointer(), mode)

    @pytest.fixture
    def strict(self, opened: Open, mode: CallMode) -> InMode:
        """Return a checkpointer that refuses conflicts, called in this mode."""
        return InMode(opened(on_conflict="raise").get_langgraph_checkpointer(), mode)

    @pytest.fixture
    def raising(self, memory: Memory, mode: CallMode) -> InMode:
        """Return a checkpointer of the same store that raises for what it cannot restore, called in this mode."""
        return InMode(CharmSaver(memory.store, serde=Serializer(on_unknown="raise")), mode)

    @pytest.fixture
    def backend(self, memory: Memory, mode: CallMode) -> PlansInMode:
        """Return the store's plans, run in this mode."""
        return PlansInMode(memory.store, mode)

    @pytest.fixture
    def items(self, memory: Memory, mode: CallMode) -> ItemsInMode:
        """Return the store's plans of items, run in this mode; skips where it has no long-term memory."""
        if memory.store.items is None:
            pytest.skip("this store has no items: it is opened without `Store(..., items=)`")
        return ItemsInMode(memory.store, mode)

    @pytest.fixture
    def graphs(self) -> Any:
        """Return the module of sample graphs; skips where LangGraph itself is not installed."""
        pytest.importorskip("langgraph.graph", reason="the sample graphs need langgraph")
        return import_module("charm_checkpoint.testing.graphs")

    @pytest.fixture
    def asking(self, graphs: Any, mode: CallMode) -> Any:
        """Return the module of sample graphs, for those that interrupt.

        LangGraph cannot do that in async code before Python 3.11, whose tasks can be given a context.
        """
        if mode.name == "async" and sys.version_info < (3, 11):
            pytest.skip("interrupts in async code need Python 3.11")
        return graphs

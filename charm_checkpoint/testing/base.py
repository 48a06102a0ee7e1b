"""The fixtures of the contract suite."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from charm_checkpoint.config.url import parse_url
from charm_checkpoint.contract import capabilities
from charm_checkpoint.memory import Memory
from charm_checkpoint.saver.checkpointer import CharmSaver
from charm_checkpoint.testing.call_modes import CALL_MODES, CallMode, InMode, ItemsInMode, PlansInMode
from charm_checkpoint.values.serde import Serializer

Open: TypeAlias = Callable[..., Memory]
Take: TypeAlias = Callable[[Iterable[Any]], Sequence[Any]]

PATIENCE = 30.0
"""Seconds after which a connection that is still at work is one that was not given back."""

PAUSE = 0.001
"""Seconds between two looks at what is at work."""


def raw_files(url: str) -> Callable[[], bytes] | None:
    """Return what reads all bytes, names of files too, of a store in a SQLite file or a folder; None for others."""
    location = parse_url(url)
    if location.scheme == "file":
        return lambda: _all_bytes(Path(location.path).rglob("*"))
    if location.scheme == "sqlite" and not location.path.endswith(":memory:"):
        path = Path(location.path)
        return lambda: _all_bytes(path.parent.glob(f"{path.name}*"))
    return None


def _all_bytes(paths: Iterable[Path]) -> bytes:
    return b"\n".join(str(path).encode() + (path.read_bytes() if path.is_file() else b"") for path in paths)


def _gave_back(memory: Memory, mode: CallMode) -> bool:
    """Tell whether a store gives all its connections back; work whose task was cancelled is done to its end first."""
    leased: Callable[[], int] = getattr(memory.store.driver, "leased", lambda: 0)
    deadline = time.monotonic() + PATIENCE
    while leased() and time.monotonic() < deadline:
        mode.run(lambda: time.sleep(PAUSE), lambda: asyncio.sleep(PAUSE))
    return not leased()


class Suite:
    """Fixtures that every part of the suite builds on; ``url`` is the adopter's."""

    @pytest.fixture(params=list(CALL_MODES))
    def mode(self, request: pytest.FixtureRequest) -> Iterator[CallMode]:
        """Yield one way of calling, blocking or async."""
        mode = CALL_MODES[request.param]()
        yield mode
        mode.close()

    @pytest.fixture
    def part_of(self) -> Take:
        """Return what takes, of many texts or cases of a kind, those to try: all; adopters may take fewer."""
        return tuple

    @pytest.fixture
    def opened(self, url: str, mode: CallMode) -> Iterator[Open]:
        """Yield a function that opens the store, with options; what it opened is closed after the test."""
        memories: list[Memory] = []

        def open_again(**options: Any) -> Memory:
            memories.append(Memory({"url": url}, **options))
            return memories[-1]

        yield open_again
        for memory in memories:
            assert _gave_back(memory, mode), "a connection was not given back"
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
    def raw_bytes(self, url: str) -> Callable[[], bytes]:
        """Return what reads all bytes that the store of ``url`` keeps, names of files too; adopters may replace it."""
        raw = raw_files(url)
        if raw is None:
            pytest.skip("the bytes of this store cannot be looked at: define the fixture `raw_bytes`")
        return raw

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

"""What the tests of long-term memory share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import pytest

from charm_checkpoint.items import clock
from charm_checkpoint.memory import Memory
from charm_checkpoint.testing.base import Suite
from charm_checkpoint.testing.call_modes import CallMode, InMode

MINUTE = 60_000_000
NOON = 1_800_000_000_000_000
"""A time in microseconds, as good as any."""

OpenItems: TypeAlias = Callable[..., InMode]


class Clock:
    """The date, as a test sets it."""

    def __init__(self) -> None:
        self.time = NOON

    def now(self) -> int:
        """Return the date."""
        return self.time

    def pass_minutes(self, minutes: float) -> None:
        """Let time pass, or go back."""
        self.time += round(minutes * MINUTE)


class LongTermBase(Suite):
    """Fixtures of the tests of long-term memory."""

    @pytest.fixture
    def open_store(self, memory: Memory, mode: CallMode) -> OpenItems:
        """Return a function that returns the store of items with some settings, called in this mode."""
        if memory.store.items is None:
            pytest.skip("this store keeps no long-term memory")
        return lambda **settings: InMode(memory.get_langgraph_store(**settings), mode)

    @pytest.fixture
    def kept(self, open_store: OpenItems) -> InMode:
        """Return the store of items, called in this mode."""
        return open_store()

    @pytest.fixture
    def clock(self, monkeypatch: pytest.MonkeyPatch) -> Clock:
        """Return the date by which items are stamped and expire."""
        made = Clock()
        monkeypatch.setattr(clock, "now", made.now)
        return made


def keys(found: list[Any]) -> list[str]:
    """Return the keys of items."""
    return [item.key for item in found]


def embed(texts: list[str]) -> list[list[float]]:
    """Return for each text how often each letter is in it: a model that is the same everywhere."""
    return [[float(text.lower().count(letter)) for letter in "abcdefghijklmnopqrstuvwxyz"] + [0.1] for text in texts]

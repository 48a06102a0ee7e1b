"""Removals in small steps, and such as are stopped between two of them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from charm_checkpoint.runtime.pacing import Pacer


def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have removals be many transactions, where they may be several."""
    for name in ("sqlite.removing.ROWS", "sqlite.removing.CHUNKS", "postgres_schema.removing.REMOVED"):
        monkeypatch.setattr(f"charm_checkpoint.stores.{name}", 4)


class Stopped(Exception):
    """A removal was stopped between two of its pieces."""


class Stopping(Pacer):
    """Sets a pace at which work is stopped at one of its rests."""

    def __init__(self, left: int) -> None:
        super().__init__(lambda: 0)
        self._left = left

    def due(self) -> float:
        """Stop if it is time."""
        self._left -= 1
        if self._left < 0:
            raise Stopped
        return 0.0


class Meeting(Pacer):
    """Sets a pace at which somebody does something at each rest."""

    def __init__(self, work: Callable[[], object]) -> None:
        super().__init__(lambda: 0)
        self._work = work

    def due(self) -> float:
        """Have it done."""
        self._work()
        return 0.0

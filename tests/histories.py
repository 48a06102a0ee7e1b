"""Threads as a plain program keeps them, in lists, to compare stores with: what was put, and what each must read as."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from langgraph.checkpoint.serde.types import INTERRUPT

DELTA = "delta"
"""The channel that is kept by its changes."""


@dataclass
class Point:
    """A checkpoint as it was put, with the writes of tasks to it since."""

    ns: str
    id: str
    parent: str | None
    values: dict[str, Any]
    made: float
    root: str | None = None
    writes: dict[tuple[str, int], tuple[str, Any]] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, str]:
        """Return what it is known by."""
        return self.ns, self.id

    @property
    def waits(self) -> bool:
        """Tell whether a task asked something there."""
        return any(channel == INTERRUPT for channel, _ in self.writes.values())

    def sorted_writes(self) -> list[tuple[str, str, Any]]:
        """Return its writes in the order that they are read in."""
        return [(task, *self.writes[task, n]) for task, n in sorted(self.writes)]

    def copied(self) -> Point:
        """Return one like it that changes by itself."""
        return replace(self, writes=dict(self.writes))


@dataclass
class Line:
    """A thread: all that was ever committed to it, in that order, and which of these are there still."""

    points: list[Point] = field(default_factory=list)
    stored: set[tuple[str, str]] = field(default_factory=set)
    messages: list[str] = field(default_factory=list)
    pinned: bool = False

    def here(self, ns: str | None = None) -> list[Point]:
        """Return what is stored, the last committed first."""
        return [one for one in reversed(self.points) if one.key in self.stored and ns in (None, one.ns)]

    def add(self, point: Point) -> None:
        """Commit a checkpoint."""
        self.points.append(point)
        self.stored.add(point.key)

    def delta(self, point: Point) -> list[Any]:
        """Return what the delta channel is at a checkpoint, by all that was ever written."""
        if DELTA in point.values:
            return list(point.values[DELTA])
        above = next((one for one in self.points if one.key == (point.ns, point.parent)), None)
        if above is None:
            return []
        return self.delta(above) + [value for _, channel, value in above.sorted_writes() if channel == DELTA]

    def needed(self, point: Point) -> set[tuple[str, str]]:
        """Return the checkpoints that the delta channel there is rebuilt from."""
        found: set[tuple[str, str]] = set()
        by_key = {one.key: one for one in self.points}
        while DELTA not in point.values and (above := by_key.get((point.ns, point.parent or ""))) is not None:
            found.add(above.key)
            point = above
        return found

    def must_stay(self, last: int, since: float | None, branches: bool) -> set[tuple[str, str]]:
        """Return what a policy keeps by what its page says, but for tasks, which go with their root checkpoint."""
        here = self.here()
        children: dict[tuple[str, str], list[Point]] = {}
        for one in here:  # the last committed first
            children.setdefault((one.ns, one.parent or ""), []).append(one)
        kept: set[tuple[str, str]] = set()
        for ns in {one.ns for one in here}:
            kept.update(one.key for one in self.here(ns)[:last])
        for one in here:
            if since is not None and one.made >= since:
                kept.add(one.key)
            following = children.get(one.key, [])
            if branches and len(following) > 1:
                kept.update((one.key, following[0].key, following[1].key))
            if ":" not in one.ns and not following and one.waits:
                kept.add(one.key)
        return self._with_tasks(kept, {one.key: one for one in here})

    def _with_tasks(self, kept: set[tuple[str, str]], by_key: dict[tuple[str, str], Point]) -> set[tuple[str, str]]:
        while True:
            gone = {key for key in kept if (root := by_key[key].root) is not None and ("", root) not in kept}
            needed = {key for one in kept - gone for key in self.needed(by_key[one])} & set(by_key)
            if needed <= kept - gone:
                return kept - gone
            kept = (kept - gone) | needed | {key for key in gone if ("", by_key[key].root or "") in needed}

"""The commits of a thread's namespaces, one behind the other, as some are taken out of them; pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence, Set
from dataclasses import dataclass, field
from typing import NamedTuple

from charm_checkpoint.contract import ThreadState


class Taken(NamedTuple):
    """A checkpoint that is to go; ``key`` is None where there are only writes that came before it."""

    space: int
    id: bytes
    key: int | None = None


@dataclass
class Cut:
    """What is left to say in the file once some checkpoints are gone."""

    links: dict[int, int | None] = field(default_factory=dict)
    """Which commit comes before which from now on, where that changes."""
    heads: dict[int, int | None] = field(default_factory=dict)
    """The heads of the spaces that lost theirs, None where nothing is left."""


class Lines:
    """What is known of a thread's commits as it was in ``state``; ``waiting`` are those that are still to go."""

    def __init__(self, thread: int, state: ThreadState) -> None:
        self.thread = thread
        self.state = state
        self.waiting: list[Taken] = []
        self.has_lost = False
        """Whether any went."""
        self._doomed: Set[tuple[int, bytes]] = frozenset()
        self._before: dict[int, int | None] = {}
        self._behind: dict[int, int] = {}
        self._last: dict[int, int] = {}

    def add(self, rows: Iterable[Sequence[object]]) -> None:
        """Take in commits that are not known, as (key, space), in the order of their keys."""
        for key, space, *_ in rows:
            assert isinstance(key, int) and isinstance(space, int)
            if key in self._before:
                continue
            last = self._last.get(space)
            self._before[key] = last
            if last is not None:
                self._behind[last] = key
            self._last[space] = key

    def knows(self, key: int) -> bool:
        """Tell whether a commit that is there is known."""
        return key in self._before

    def doom(self, taken: Collection[Taken], keys: Set[tuple[int, bytes]]) -> None:
        """Have some go, the oldest first; ``keys`` are their spaces and ids."""
        self.waiting = sorted(taken, key=lambda one: -(one.key or 0))
        self._doomed = keys

    def is_doomed(self, space: int, id: bytes) -> bool:
        """Tell whether a checkpoint is one of those that go, or went."""
        return (space, id) in self._doomed

    def take(self, size: int) -> list[Taken]:
        """Return the next that go."""
        taken = self.waiting[-size:]
        del self.waiting[-size:]
        self.has_lost = self.has_lost or bool(taken)
        return taken

    def cut(self, taken: Iterable[Taken]) -> Cut:
        """Take commits out of their lines, and return what changes by that."""
        cut = Cut()
        for space, _, key in taken:
            if key is None:
                continue
            before, behind = self._before.pop(key), self._behind.pop(key, None)
            cut.links.pop(key, None)
            if before is not None and behind is not None:
                self._behind[before] = behind
            elif before is not None:
                del self._behind[before]
            if behind is not None:
                self._before[behind] = cut.links[behind] = before
            else:
                cut.heads[space] = before
                if before is None:
                    del self._last[space]
                else:
                    self._last[space] = before
        return cut

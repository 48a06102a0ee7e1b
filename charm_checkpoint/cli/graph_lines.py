"""The lines that join checkpoints to those that they follow, drawn beside a listing that begins with the latest."""

from __future__ import annotations

from collections.abc import Hashable


class Lanes:
    """Draws one checkpoint after the other: each lane waits for the parent of the one above."""

    def __init__(self, unicode: bool = True) -> None:
        self._node, self._head, self._line = ("○", "●", "│") if unicode else ("o", "*", "|")
        self._join, self._cross, self._end = ("├", "┼", "─┘") if unicode else ("|", "+", "-'")
        self._lanes: list[Hashable | None] = []

    def draw(self, key: Hashable, parent: Hashable | None, is_head: bool = False) -> tuple[list[str], str]:
        """Return the lines before a checkpoint, where branches join that began at it, and its own."""
        mine = [at for at, awaited in enumerate(self._lanes) if awaited == key]
        before = []
        for other in reversed(mine[1:]):
            before.append(self._joined(mine[0], other))
            self._lanes[other] = None
        self._shrink()
        if mine:
            at = mine[0]
        else:
            at = self._lanes.index(None) if None in self._lanes else len(self._lanes)
            self._lanes[at : at + 1] = [key]
        own = self._row({at: self._head if is_head else self._node})
        self._lanes[at] = parent
        self._shrink()
        return before, own

    def _row(self, put: dict[int, str]) -> str:
        marks = [put.get(at, " " if held is None else self._line) for at, held in enumerate(self._lanes)]
        return " ".join(marks).rstrip()

    def _joined(self, to: int, other: int) -> str:
        """Draw a line from one lane to another, across those between."""
        dash = self._end[0]
        marks = []
        for at, held in enumerate(self._lanes):
            if at == to:
                marks.append(self._join + dash)
            elif to < at < other:
                marks.append((self._cross if held is not None else dash) + dash)
            elif at == other:
                marks.append(self._end[1] + " ")
            else:
                marks.append((" " if held is None else self._line) + " ")
        return "".join(marks).rstrip()

    def _shrink(self) -> None:
        while self._lanes and self._lanes[-1] is None:
            self._lanes.pop()

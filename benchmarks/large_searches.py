"""Searches in namespaces that the workload ``large`` has filled, by a program that opens the store anew."""

from __future__ import annotations

from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import session
from benchmarks.contender import Contender
from benchmarks.session import Call, Work
from benchmarks.store import namespace, question

WARM, COLD = "search", "first search"


def measure(contender: Contender, folder: Path, *, items: int, spaces: int, repeats: int) -> dict[str, float | None]:
    """Return the median milliseconds of the first search in each namespace, and of later ones in the last of them."""

    def search(opened: Any, space: int, number: int, label: str | None) -> Work[None]:
        asked = {"query": question(space + number * spaces), "limit": 10}
        found = yield Call(opened, "search", (namespace(space),), asked, label)
        assert label is None or len(found) == min(10, items), found

    def work(opened: Any) -> Work[None]:
        yield from search(opened, spaces, 0, None)  # in an empty one: what a program loads once is loaded
        for space in range(spaces):
            yield from search(opened, space, 0, COLD)
        for number in range(1, repeats + 1):
            yield from search(opened, spaces - 1, number % items, WARM)

    timings = session.run(contender, folder, work).timings
    return {label: 1e3 * median(times) for label, times in timings.items()}

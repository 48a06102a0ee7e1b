"""Long-term memory: puts, gets, searches and listings of a LangGraph store with many items and vectors."""

from __future__ import annotations

import random
from array import array
from collections.abc import Callable, Sequence
from functools import lru_cache
from hashlib import shake_128
from pathlib import Path
from statistics import median
from typing import Any

from langgraph.store.base import PutOp

from benchmarks import session
from benchmarks.contender import Contender
from benchmarks.session import Call, Work

BATCH = 100
"""Items that are put at once while the store is filled."""
WARM_UP = 2
"""Calls of each kind that are made first and not counted."""
WORDS, TOPICS, VOCABULARY = 24, 40, 4_000
ASKED = 7
"""Words of a short question."""
KINDS = ("rule", "fact", "lesson", "note")

FIGURES = (
    "put",
    "get",
    "search in a namespace",
    "search in a namespace, filter",
    "search in a namespace, query",
    "search over all, query",
    "cold search in a namespace, query",
    "list_namespaces",
    "bytes an item",
)
PUT, GET, LIST, FILTERED, QUERY, QUERY_ALL, COLD, NAMESPACES, BYTES = FIGURES


def dims() -> int:
    """Return how many numbers a vector has."""
    return 384


def embed(texts: Sequence[str]) -> list[list[float]]:
    """Return made-up vectors: texts of a topic, which their first word names, lie near each other."""
    return [list(_vector(text)) for text in texts]


async def aembed(texts: Sequence[str]) -> list[list[float]]:
    """Return what `embed` does."""
    return embed(texts)


@lru_cache(20_000)
def _vector(text: str) -> tuple[float, ...]:
    return tuple(map(_near, _centre(text.split(" ", 1)[0]), _noise(text)))


@lru_cache(TOPICS + 1)
def _centre(topic: str) -> array[int]:
    return _noise(topic)


def _noise(text: str) -> array[int]:
    """Return numbers that look random, the same for the same text, without numpy, which a program may not have."""
    return array("h", shake_128(text.encode()).digest(2 * dims()))


def _near(centre: int, noise: int) -> float:
    return (centre + 0.5 * noise) / 32_768


def namespace(number: int) -> tuple[str, ...]:
    """Return a namespace's name."""
    return ("users", f"user-{number:04d}", "memories")


def item(number: int) -> dict[str, Any]:
    """Return an item: a sentence of some words, most of them common ones, and two fields to filter by."""
    chance = random.Random(number)
    words = (f"word{int(VOCABULARY * chance.random() ** 3):04d}" for _ in range(WORDS))
    return {
        "text": f"topic{number % TOPICS} {' '.join(words)} number {number}",
        "kind": KINDS[number % len(KINDS)],
        "n": number,
    }


def question(number: int) -> str:
    """Return what somebody asks who looks for an item: its topic and a few of its words."""
    return " ".join(item(number)["text"].split(" ")[:ASKED])


def fill(store: Any, items: int, spaces: int) -> Work[None]:
    """Put all items, one namespace's at a time."""
    for space in range(spaces):
        numbers = range(space, items, spaces)
        for start in range(0, len(numbers), BATCH):
            some = numbers[start : start + BATCH]
            yield Call(store, "batch", ([PutOp(namespace(space), f"item-{n}", item(n)) for n in some],))


def everything(items: int, spaces: int, repeats: int) -> Callable[[Any], Work[None]]:
    """Return the work of making every call on a filled store, one kind after the other."""

    def work(store: Any) -> Work[None]:
        yield from fill(store, items, spaces)
        steps = [step % spaces for step in range(WARM_UP + repeats)]
        page = min(10, items // spaces)
        for space in steps:
            yield Call(store, "get", (namespace(space), f"item-{space}"), label=GET)
        for space in steps:
            found = yield Call(store, "search", (namespace(space),), {"limit": 10}, LIST)
            assert len(found) == page, found
        for space in steps:
            wanted = {"kind": KINDS[space % len(KINDS)]}
            found = yield Call(store, "search", (namespace(space),), {"filter": wanted, "limit": 10}, FILTERED)
            assert found and all(one.value["kind"] == wanted["kind"] for one in found), found
        for label in (None, QUERY):  # the first time, what a store keeps of a namespace is made
            for space in steps:
                question = {"query": item(space)["text"], "limit": 10}
                found = yield Call(store, "search", (namespace(space),), question, label)
                assert found, "nothing was found"
        for space in steps:
            found = yield Call(store, "search", (("users",),), {"query": item(space)["text"], "limit": 10}, QUERY_ALL)
            assert found, "nothing was found"
        for _ in steps:
            listed = yield Call(store, "list_namespaces", (), {"limit": 100}, NAMESPACES)
            assert len(listed) == min(100, spaces), listed
        for number, space in enumerate(steps):
            yield Call(store, "put", (namespace(space), f"new-{number}", item(items + number)), label=PUT)

    return work


def cold(spaces: int, repeats: int) -> Callable[[Any], Work[None]]:
    """Return the work of searching namespaces that the store, just opened, has not seen."""

    def work(store: Any) -> Work[None]:
        yield Call(store, "get", (("users", "nobody"), "nothing"))
        for space in range(min(spaces, repeats)):
            question = {"query": item(space)["text"], "limit": 10}
            yield Call(store, "search", (namespace(space),), question, COLD)

    return work


def measure(contender: Contender, folder: Path, *, items: int, spaces: int, repeats: int) -> dict[str, float | None]:
    """Return the median microseconds of each call, and the bytes an item, None for what a store cannot do."""
    timings = session.run(contender, folder, everything(items, spaces, repeats)).timings
    figures: dict[str, float | None] = dict.fromkeys(FIGURES)
    figures |= {label: 1e6 * median(times[WARM_UP:]) for label, times in timings.items()}
    if contender.stored is not None:
        figures[BYTES] = contender.stored(folder) / (items + WARM_UP + repeats)
        [times] = session.run(contender, folder, cold(spaces, repeats)).timings.values()
        figures[COLD] = 1e6 * median(times)
    return figures

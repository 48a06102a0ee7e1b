"""What came with the third version: items of long-term memory, and what caches keep; see golden_contents.

What happens to items is a list of steps, each at a time of its own; what a store holds then is told from them here, by
nothing that the package has.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from hashlib import blake2b
from typing import Any

import langchain_core.messages as lc
from golden_contents import HOSTILE, Color, Point, Put, order
from langchain_core.embeddings import Embeddings
from langchain_core.outputs import ChatGeneration, Generation
from langgraph.store.base import Item, SearchItem

START = datetime(2025, 1, 1, tzinfo=timezone.utc)
AGES = 60.0 * 24 * 365 * 100
"""Minutes to live that outlast these stores."""


def puts() -> Iterator[Put]:
    """Yield what channels hold of long-term memory: what a node found."""
    item = Item(namespace=("users", "7"), key="k", value={"n": 1}, created_at=START, updated_at=START)
    found = SearchItem(("users",), "k", {"n": [1]}, START, START, 0.5)
    yield Put("found", "", "f", None, {"found": [found, item]}, {})


# ------------------------------------------------------------------------------------ items


@dataclass(frozen=True)
class Step:
    """A put, ``value`` None: a delete, ``TOUCH``: a read that puts off the end."""

    namespace: tuple[str, ...]
    key: str
    value: Any
    index: Any = None
    ttl: float | None = None


@dataclass(frozen=True)
class Held:
    """An item as it is to be found."""

    value: dict[str, Any]
    created: int
    updated: int
    ttl: int | None = None
    expires: int | None = None


TOUCH = "touch"
USER = ("users", "7")
ODD = ("\udfff", "a\n/%_:|{}'", "größe")
LONG = ("long name " * 90,)
KINDS: dict[str, Any] = {
    "null": None, "truths": [True, False], "integers": [0, -1, 2**53 + 1, 2**64, -(2**70)], "empty": [{}, [], ""],
    "floats": [0.5, -0.0, 1e300, 5e-324, math.nan, math.inf, -math.inf], "text": "größe\n\0 🚂 \ud800",
    "": {"": "no name"},
    "\0": "NUL", HOSTILE: [HOSTILE], "nested": {"a": {"b": {"c": [[[["deep"]]]]}}}, "lc": 1, "type": "constructor",
}  # fmt: skip
STEPS = [
    Step(USER, "kinds", KINDS),
    Step(USER, "k", {"text": "first"}),
    Step(USER, "big", {"n": [10**5000, -(10**4400)], "\0": {"\0": 1}, "\0\0a": {"\0": "x"}}),
    Step(USER, "large", {"text": " ".join(f"word{n % 700}" for n in range(4000)), "user": "bob"}),
    Step(USER, "unindexed", {"text": "a lighthouse that nobody finds"}, index=False),
    Step(
        USER, "paths", {"title": "harbour pilot", "body": "a lighthouse left out", "at": [1]}, index=["title", "at[*]"]
    ),
    Step(USER, "", {"text": "no key"}),
    Step(USER, HOSTILE, {"key": "hostile"}),
    Step(USER, "\ud800" + "long key " * 100, {"key": "long"}),
    Step(USER, "gone", {"text": "gone lighthouse"}),
    Step(("users",), "k", {"text": "the user of all users", "user": {"name": "ann", "of": HOSTILE}}),
    Step((*USER, "notes"), "k", {"text": "a note on lighthouse keepers", "user": "ann", "score": 1.5}),
    Step((*USER, "notes"), "timed", {"text": "for an age"}, ttl=AGES),
    Step(ODD, "k", {"text": "odd"}),
    Step(LONG, "k", {"text": "long"}),
    Step(("emptied",), "a", {"n": 1}),
    Step(("emptied",), "b", {"n": 2}),
    Step(("timed",), "put off", {"n": 1}, ttl=AGES),
    Step(("timed",), "stays", {"n": 2}, ttl=AGES / 2),
    Step(("timed",), "endless", {"n": 3}, ttl=AGES),
    Step(USER, "k", {"text": "second lighthouse", "tags": ["a", {"b": None}]}),
    Step(USER, "gone", None),
    Step(("emptied",), "b", None),
    Step(("emptied",), "a", None),
    Step(("timed",), "put off", TOUCH),
    Step(("timed",), "endless", {"n": 4}),
    Step((*USER, "notes"), "again", {"n": 1}),
    Step((*USER, "notes"), "again", None),
    Step((*USER, "notes"), "again", {"n": 2}),
    # In local files, what goes from a log that is no longer small leaves a trace there.
    Step(("heavy",), "large", {"text": "heavy " * 50_000}),
    Step(("heavy",), "light", {"n": 1}),
    Step(("heavy",), "light", None),
]
BATCH = [(("batch",), f"key {n}", {"n": n, "even": n % 2 == 0}) for n in range(20)]
"""Items that are put together, after the steps."""
EXPIRED = Step(("over",), "k", {"text": "over"}, ttl=1.0)
"""An item that is put last of all, and has expired since."""


def micros(number: int) -> int:
    """Return the time of a step, in microseconds since 1970."""
    return (int(START.timestamp()) + number) * 1_000_000


def held() -> dict[tuple[tuple[str, ...], str], Held]:
    """Return the items that are there in the end, of steps and batch."""
    found: dict[tuple[tuple[str, ...], str], Held] = {}
    for number, step in enumerate(STEPS):
        now, at = micros(number), (step.namespace, step.key)
        before = found.get(at)
        if step.value is None:
            del found[at]
        elif step.value == TOUCH:
            assert before is not None and before.ttl is not None
            found[at] = Held(before.value, before.created, before.updated, before.ttl, now + before.ttl)
        else:
            ttl = None if step.ttl is None else int(step.ttl * 60_000_000)
            ends = None if ttl is None else now + ttl
            found[at] = Held(step.value, before.created if before else now, now, ttl, ends)
    for place, (namespace, key, value) in enumerate(BATCH):
        now = micros(len(STEPS)) + place
        found[namespace, key] = Held(value, now, now)
    return found


def encoded(text: str) -> bytes:
    """Return a label or a key in bytes."""
    return text.encode("utf-8", "surrogatepass")


def path(namespace: tuple[str, ...]) -> bytes:
    """Return the path of a namespace."""
    return b"i" + b"".join(encoded(label) + b"\0" for label in namespace)


FILTERS: list[tuple[tuple[str, ...], dict[str, Any], list[str]]] = [
    (("users",), {"user": "ann"}, ["7/notes/k"]),
    (("users",), {"user": {"name": "ann"}}, ["k"]),
    (("users",), {"user.of": HOSTILE}, ["k"]),
    (("users",), {"score": {"$gt": 1}}, ["7/notes/k"]),
    (USER, {"tags": ["a", {"b": None}]}, ["k"]),
    (USER, {"nested.a.b": {"c": [[[["deep"]]]]}}, ["kinds"]),
    (("batch",), {"even": True, "n": {"$gte": 16}}, ["key 18", "key 16"]),
    ((), {"user": "nobody"}, []),
]
"""Where to look, filters, and the paths of what they find, from there."""

WORDS: list[tuple[tuple[str, ...], str, set[str]]] = [
    (("users",), "lighthouse", {"7/k", "7/notes/k"}),
    (USER, "harbour", {"paths"}),
    (USER, "word699", {"large"}),
]
"""Where to look, words, and the paths of items that score above one half."""


# ---------------------------------------------------------------------------------- vectors


class MadeUp(Embeddings):
    """A model that is none: each word has a vector, a text the sum of its words'."""

    model = "made-up"

    def __init__(self, works: bool = True) -> None:
        self.works = works
        self.asked: list[str] = []

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Return the vectors of texts; none while it does not work."""
        self.asked += texts
        if not self.works:
            raise ConnectionError("the model is not there")
        return [made_up(text) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        """Return the vector of a text."""
        return self.embed_documents([text])[0]


DIMS = 20
MEANINGS = ("meanings",)
MEANT: dict[str, dict[str, Any]] = {
    "train": {"text": "the night train to Porto", "notes": ["coal", "a timetable of trains"]},
    "boat": {"text": "a boat on the river", "notes": []},
    "both": {"text": "the train and the boat", "notes": ["a ferry for trains"]},
    "bare": {"other": "no text that is embedded"},
}
LATE = ("late",)
LATE_VALUE = {"text": "embedded once the model was there"}
"""Put while there was no model, and made its vectors later."""
WAITING = ("waiting",)
WAITING_VALUE = {"text": "never embedded"}
QUERY, NEAREST = "the night train", "train"


def made_up(text: str) -> list[float]:
    """Return a text's vector."""
    words = [blake2b(word.encode(), digest_size=DIMS).digest() for word in text.lower().split()]
    return [sum(word[at] - 127.5 for word in words) + 0.25 for at in range(DIMS)]


def cosine(one: str, other: str) -> float:
    """Return how near two texts are to each other."""
    first, second = made_up(one), made_up(other)
    lengths = math.sqrt(math.fsum(n * n for n in first)) * math.sqrt(math.fsum(n * n for n in second))
    return math.fsum(a * b for a, b in zip(first, second, strict=True)) / lengths


def packed_vectors(value: dict[str, Any]) -> bytes:
    """Return the vectors of an item as they are stored."""
    texts = [value["text"], *value.get("notes", [])] if "text" in value else []
    rows = []
    for vector in map(made_up, texts):
        length = math.sqrt(math.fsum(number * number for number in vector))
        rows.append(struct.pack(f"<{DIMS}e", *(number / length for number in vector)))
    return b"".join(rows)


# ----------------------------------------------------------------------------------- caches

NODES = ("__pregel_ns_writes", "node", "a\0\ud800")
CACHED: dict[tuple[tuple[str, ...], str], tuple[Any, int | None]] = {
    (NODES, "k"): ([("log", [Point(1), order()]), ("color", Color.RED)], None),
    (NODES, "timed"): ({"a": "x" * 5000}, 100 * 365 * 24 * 3600),
    ((), "long key " * 100): (None, None),
}
"""What is cached of nodes, and for how many seconds."""
ANSWERS: dict[tuple[str, str], list[Generation]] = {
    ("what is said \ud800", "model=a"): [
        ChatGeneration(
            message=lc.AIMessage(
                "an answer", id="run-1", usage_metadata={"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}
            ),
            generation_info={"finish_reason": "stop"},
        )
    ],
    ("plain", "model=b"): [Generation(text="one"), Generation(text="other")],
}
"""What models answered, by prompt and settings."""

ERASED, PINNED = "erased", "copy"
UNTIL = 4_000_000_000
"""The second until which something is kept of the thread that was erased."""

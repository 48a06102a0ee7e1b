"""Large states of ten shapes: their first save, saves after a small change, and what these store.

Run by itself: ``python -m benchmarks.shapes``.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from langchain_core.messages import AIMessage, HumanMessage

from benchmarks import report, text
from benchmarks.operations import checkpoint_of, config_of

CHANGES = 5
"""Saves after a small change, of which the median is told."""

BEAT = 0.002
"""Seconds between two looks at the clock of the event loop."""

DESCRIPTION = f"""\
Save large states of ten shapes, in SqliteSaver and in ours, in interleaved pairs: first whole, then {CHANGES} times
after one small change each. Seconds are those of `put`. `change MB` is what one such save adds. `held` is
the longest time that an event loop stood still while `aput` saved the state whole, in ms, here and on a store in RAM.
"""


@dataclass(frozen=True)
class Shape:
    """A state's only value, how to make it, and how to change a little of it, in place."""

    name: str
    make: Callable[[], Any]
    change: Callable[[Any, int], Any]
    limit: float


def _numbers(count: int, seed: int = 0) -> list[float]:
    source = random.Random(seed)
    return [source.random() for _ in range(count)]


def _vectors() -> list[list[float]]:
    return [_numbers(1536, n) for n in range(300)]


def _messages() -> list[Any]:
    kinds = (HumanMessage, AIMessage)
    return [kinds[n % 2](text.prose(f"message {n}", 400), id=f"id-{n}") for n in range(10_000)]


def _files() -> dict[str, Any]:
    return {"workspace": {"files": {f"file {n}": text.prose(f"file {n}", 4096) for n in range(2_000)}}}


def _keys() -> dict[str, int]:
    return {f"key {n}": n for n in range(100_000)}


def _small_dicts() -> list[dict[str, Any]]:
    return [{"id": n, "name": f"name {n}", "ok": n % 3 == 0, "score": n * 0.5} for n in range(100_000)]


def _append(item: Callable[[int], Any]) -> Callable[[Any, int], Any]:
    def change(value: Any, turn: int) -> Any:
        value.append(item(turn))
        return value

    return change


def _set_item(place: Callable[[int], Any], item: Callable[[int], Any]) -> Callable[[Any, int], Any]:
    def change(value: Any, turn: int) -> Any:
        value[place(turn)] = item(turn)
        return value

    return change


def _change_row(value: Any, turn: int) -> Any:
    value[turn * 17_001]["name"] = f"changed in turn {turn}"
    return value


def _change_file(value: Any, turn: int) -> Any:
    value["workspace"]["files"][f"file {turn * 301}"] = text.prose(f"edit {turn}", 4096)
    return value


SHAPES = (
    Shape("300 vectors of 1,536 floats", _vectors, _append(lambda turn: _numbers(1536, 1000 + turn)), 2),
    Shape("1,000,000 ints", lambda: list(range(1_000_000)), _append(lambda turn: turn), 2),
    Shape("1,000,000 floats", lambda: _numbers(1_000_000), _set_item(lambda turn: turn * 90_001, float), 2),
    Shape("50 MB of bytes", lambda: random.Random(1).randbytes(50_000_000), lambda value, turn: value + b"more", 2),
    Shape("20 MB of text", lambda: text.prose("long", 1_000_000) * 20, lambda value, turn: value + "more", 2),
    Shape("200,000 strings", lambda: [f"string number {n}" for n in range(200_000)], _append(str), 6),
    Shape("dict of 100,000 keys", _keys, _set_item("key {}000".format, str), 6),
    Shape("100,000 small dicts", _small_dicts, _change_row, 6),
    Shape("10,000 messages", _messages, _append(lambda turn: HumanMessage(f"more {turn}", id=f"more-{turn}")), 6),
    Shape("2,000 files, nested", _files, _change_file, 6),
)  # fmt: skip


@dataclass
class Timed:
    """What one saver did: seconds of the first save and of each later one, bytes that these added."""

    first: float
    later: list[float]
    added: int


def save(saver: Any, size: Callable[[], int], shape: Shape, value: Any) -> Iterator[Timed | None]:
    """Save a value, then again after each change; between two saves somebody else may have his turn."""
    config, timed, before = config_of("t"), Timed(0.0, [], 0), 0
    for turn in range(CHANGES + 1):
        if turn:
            value = shape.change(value, turn)
        checkpoint = checkpoint_of({"value": value}, {"value": turn + 1})
        began = time.perf_counter()
        config = saver.put(config, checkpoint, {"source": "loop", "step": turn, "parents": {}}, {"value": turn + 1})
        spent = time.perf_counter() - began
        if turn:
            timed.later.append(spent)
        else:
            timed.first, before = spent, size()
        yield None
    if saver.get_tuple(config).checkpoint["channel_values"]["value"] != value:
        raise AssertionError(f"{shape.name} did not come back")
    timed.added = (size() - before) // CHANGES
    yield timed


@contextmanager
def opened(kind: str, folder: Path) -> Iterator[tuple[Any, Callable[[], int]]]:
    """Open a saver, with what tells the bytes of its values."""
    from langgraph.checkpoint.sqlite import SqliteSaver

    from charm_checkpoint import open_memory

    file = folder / f"{kind}.db"

    if kind == "official":
        with SqliteSaver.from_conn_string(str(file)) as saver:
            query = "SELECT sum(length(checkpoint)) FROM checkpoints"
            yield saver, lambda: saver.conn.execute(query).fetchone()[0]
    else:
        with open_memory(f"sqlite:///{file}") as memory:
            yield memory.get_langgraph_checkpointer(), lambda: memory.usage().payload_bytes


def measure(shape: Shape, folder: Path) -> tuple[Timed, Timed]:
    """Save a shape in both, in turns; return the official saver's figures and ours."""
    with opened("official", folder) as (official, official_size), opened("charm", folder) as (ours, our_size):
        pairs = zip(
            save(official, official_size, shape, shape.make()), save(ours, our_size, shape, shape.make()), strict=True
        )
        *_, (theirs, own) = pairs
    assert theirs is not None and own is not None
    return theirs, own


def held(shape: Shape, url: str) -> float:
    """Return the longest time, in seconds, that an event loop stood still during an `aput`."""
    from charm_checkpoint import open_memory

    async def save() -> float:
        async with open_memory(url) as memory:
            saver = memory.get_langgraph_checkpointer()
            await saver.aput(config_of("warm"), checkpoint_of({"value": 1}, {"value": 1}), {}, {"value": 1})
            checkpoint = checkpoint_of({"value": shape.make()}, {"value": 1})
            watch = asyncio.create_task(_watch())
            await asyncio.sleep(5 * BEAT)
            await saver.aput(config_of("t"), checkpoint, {"source": "loop"}, {"value": 1})
            watch.cancel()
            return await watch

    return asyncio.run(save())


async def _watch() -> float:
    longest, last = 0.0, time.perf_counter()
    try:
        while True:
            await asyncio.sleep(BEAT)
            now = time.perf_counter()
            longest, last = max(longest, now - last - BEAT), now
    except asyncio.CancelledError:
        return max(longest, time.perf_counter() - last - BEAT)


HEADER = (
    "shape", "first, s", "of SqliteSaver", "at most", "after a change, s", "of SqliteSaver", "change MB",
    "of SqliteSaver", "held, ms", "held in RAM, ms",
)  # fmt: skip


def row(shape: Shape, rounds: int, parent: Path | None) -> tuple[str, ...]:
    """Measure one shape; ratios are medians of the rounds' own."""
    pairs = []
    for _ in range(rounds):
        with TemporaryDirectory(dir=parent, prefix="benchmark-") as folder:
            pairs.append(measure(shape, Path(folder)))
    with TemporaryDirectory(dir=parent, prefix="benchmark-") as folder:
        stood = [held(shape, url) * 1e3 for url in (f"sqlite:///{folder}/charm.db", "memory://")]
    return (
        shape.name,
        report.seconds(median(ours.first for _, ours in pairs)),
        f"{median(ours.first / theirs.first for theirs, ours in pairs):.2f}",
        f"{shape.limit:g}",
        report.seconds(median(median(ours.later) for _, ours in pairs)),
        f"{median(median(ours.later) / median(theirs.later) for theirs, ours in pairs):.2f}",
        f"{median(ours.added for _, ours in pairs) / 1e6:.3f}",
        f"{median(ours.added / theirs.added for theirs, ours in pairs):.4f}",
        *(f"{milliseconds:.0f}" for milliseconds in stood),
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print the table."""
    made = argparse.ArgumentParser("python -m benchmarks.shapes", description=DESCRIPTION)
    made.add_argument("--rounds", type=int, default=3, metavar="N", help="times everything is measured (default: 3)")
    made.add_argument("--only", metavar="WORD", default="", help="shapes whose name holds this word")
    made.add_argument("--folder", type=Path, metavar="DIR", help="where the temporary files go")
    options = made.parse_args(argv)
    rows = []
    for shape in (shape for shape in SHAPES if options.only in shape.name):
        sys.stderr.write(f"{shape.name}\n")
        rows.append(row(shape, options.rounds, options.folder))
    sys.stdout.write(report.table(HEADER, rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())

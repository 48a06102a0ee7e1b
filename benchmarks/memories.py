"""How long recalling memories takes, and whether a prompt's block stays the same: ``python -m benchmarks memories``."""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from langgraph.store.base import PutOp

from benchmarks import environment, revalidation
from charm_checkpoint import LongTermMemory, open_memory
from charm_checkpoint.long_term.prompt_block import prompt_block
from charm_checkpoint.long_term.records import new_value

CHUNK = 500
SYLLABLES = [first + last for first in "bdfgklmnprstvz" for last in ("a", "e", "i", "o", "u", "an", "er", "ol")]

DESCRIPTION = """\
Fill a store with durable memories, and print how long it takes to recall some, in milliseconds: the first time in a
program, which reads what is indexed, and again (median). Each question is asked of all of them, five are returned and
their use is noted. Then whether the block that a prompt gets is the same bytes when nothing changed. Then how many
seconds it takes to revalidate memories that cite a file each, and how many of the files are read for it.
"""


def main(argv: Sequence[str]) -> int:
    """Measure, and print what was found."""
    parser = argparse.ArgumentParser("python -m benchmarks memories", description=DESCRIPTION)
    parser.add_argument("--url", help="the store (default: a SQLite file of its own)")
    parser.add_argument("--memories", type=int, default=10_000, metavar="N", help="how many (default: 10000)")
    parser.add_argument("--repeats", type=int, default=50, metavar="N", help="questions asked (default: 50)")
    parser.add_argument("--citations", type=int, default=10_000, metavar="N", help="files cited (default: 10000)")
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        url = options.url or f"sqlite:///{Path(folder).as_posix()}/memories.db"
        print(", ".join(f"{name} {value}" for name, value in environment.describe(set()).items()))
        for label, figure in measure(url, options.memories, options.repeats):
            print(f"{label:<48}{figure}")
        (Path(folder) / "project").mkdir()
        for label, figure in revalidation.measure(Path(folder) / "project", options.citations):
            print(f"{label:<48}{figure}")
    return 0


def measure(url: str, memories: int, repeats: int) -> list[tuple[str, str]]:
    """Return what was measured, in words."""
    chosen = random.Random(7)
    words = ["".join(chosen.choices(SYLLABLES, k=chosen.randint(2, 4))) for _ in range(4_000)]
    bodies = [" ".join(chosen.choices(words, k=25)) for _ in range(memories)]
    with open_memory(url) as memory, memory.long_term("benchmark", {"global": False}) as kept:
        _fill(kept, bodies)
    questions = [" ".join(chosen.sample(chosen.choice(bodies).split(), k=6)) for _ in range(repeats)]
    with open_memory(url) as memory, memory.long_term("benchmark", {"global": False}) as kept:
        first = _milliseconds(lambda: kept.recall(questions[0]))
        again = [_milliseconds(lambda question=question: kept.recall(question)) for question in questions]
        uncounted = [
            _milliseconds(lambda question=question: kept.recall(question, count_use=False)) for question in questions
        ]
        blocks = [prompt_block(kept.recall(questions[0])) for _ in range(3)]
    return [
        (f"{memories:,} memories: first recall, ms", f"{first:.1f}"),
        ("recall again, ms, median", f"{statistics.median(again):.2f}"),
        ("without noting the use, ms, median", f"{statistics.median(uncounted):.2f}"),
        ("characters of the block", str(len(blocks[0]))),
        ("the block is the same bytes", str(len(set(blocks)) == 1)),
    ]


def _fill(kept: LongTermMemory, bodies: Sequence[str]) -> None:
    scope = kept.scopes["project"]
    now = time.time_ns() // 1000
    for begin in range(0, len(bodies), CHUNK):
        ops = []
        for number, body in enumerate(bodies[begin : begin + CHUNK], begin):
            title = f"memory {number}: {body.split()[0]}"
            ops.append(PutOp(scope.notes, title, new_value(title, "fact", body, "manual", now + number)))
        scope.store.batch(ops)


def _milliseconds(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return (time.perf_counter() - begin) * 1000


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

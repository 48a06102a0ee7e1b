"""This code and another version of it, side by side: one measurement of each at a time, in turns.

Each version has a process of its own, which lives as long as the contender is measured and does nothing
while the other one measures. The two of a pair follow each other closely, and every other pair the other
one begins, so that what the machine does besides befalls both.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import comb
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory, TemporaryFile
from typing import Any, NamedTuple

from typing_extensions import Self

from benchmarks import imports
from benchmarks.contender import Contender
from benchmarks.runner import LIMIT_SECONDS, Figures, Job, Report, environment, last_line

PACKAGE = "charm_checkpoint"

BEYOND = 0.05
"""The chance that the true median lies outside of its interval."""


class Ratio(NamedTuple):
    """How many times its own baseline a figure is.

    That is the pairs' ``median``; between ``least`` and ``most`` it lies with 95 %, of six pairs or more, whatever
    disturbed them; and between ``low`` and ``high`` lies the middle half of the pairs.
    """

    median: float
    least: float
    most: float
    low: float
    high: float


def ratio_of(ratios: Sequence[float]) -> Ratio:
    """Return what the ratios of all pairs come to."""
    ranked, rank = sorted(ratios), _rank(len(ratios))
    low, _, high = quantiles(ranked, n=4, method="inclusive") if len(ranked) > 1 else ranked * 3
    return Ratio(median(ranked), ranked[rank], ranked[-1 - rank], low, high)


def _rank(count: int) -> int:
    """Return how many of the least, and of the greatest, can be left out of the interval of the median.

    Each pair is on either side of the true median with the same chance.
    """
    rank, chance = 0, 2 / 2**count
    while chance + 2 * comb(count, rank + 1) / 2**count <= BEYOND:
        rank += 1
        chance += 2 * comb(count, rank) / 2**count
    return rank


@dataclass
class Pairs:
    """What two versions of a contender did in one job: ``before`` and ``now`` are the figures of each pair."""

    job: Job
    contender: str
    before: list[Figures] = field(default_factory=list)
    now: list[Figures] = field(default_factory=list)
    failed: str | None = None

    def medians(self, figure: str) -> tuple[float, float]:
        """Return a figure's median in both versions."""
        both = self._both(figure)
        return median(before for before, _ in both), median(now for _, now in both)

    def ratio(self, figure: str) -> Ratio:
        """Return a figure of now by that of before."""
        return ratio_of([now / before for before, now in self._both(figure)])

    @property
    def figures(self) -> list[str]:
        """What was measured in every pair, in both versions; not how much text they were given."""
        every = [*self.before, *self.now]
        names = [name for name in (every[0] if every else ()) if name != "text_bytes"]
        return [name for name in names if all(one.get(name) for one in every)]

    def summary(self) -> dict[str, Any]:
        """Return what is derived from the pairs."""
        return {"ratios": {figure: self.ratio(figure)._asdict() for figure in self.figures}}

    def _both(self, figure: str) -> list[tuple[float, float]]:
        return [(one[figure] or 0.0, other[figure] or 0.0) for one, other in zip(self.before, self.now, strict=True)]


class WorkerFailed(Exception):
    """A version's process could not measure; says why."""


class Version:
    """One version of the package, measured in a process of its own until it is left."""

    def __init__(self, source: Path) -> None:
        self._source = source

    def __enter__(self) -> Self:
        self._errors = TemporaryFile("w+")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.worker", "--serve", str(self._source)],
            cwd=imports.ROOT,
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )
        return self

    def __exit__(self, *exception: object) -> None:
        self._process.kill()
        self._process.communicate()
        self._errors.close()

    def measure(self, job: Job, contender: Contender, parent: Path | None) -> Figures:
        """Return what a job measures, made in a new folder; WorkerFailed if that failed."""
        with TemporaryDirectory(dir=parent, prefix="benchmark-") as folder:
            try:
                return self._ask({**job._asdict(), "contender": contender.name, "folder": folder})
            finally:
                contender.clear(Path(folder))

    def _ask(self, task: dict[str, Any]) -> Figures:
        assert self._process.stdin and self._process.stdout
        limit = threading.Timer(LIMIT_SECONDS, self._process.kill)
        limit.start()
        try:
            self._process.stdin.write(json.dumps(task) + "\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        finally:
            limit.cancel()
        if not answer:
            raise WorkerFailed(self._last_words())
        said: dict[str, Any] = json.loads(answer)
        if "failed" in said:
            raise WorkerFailed(said["failed"])
        return said

    def _last_words(self) -> str:
        code = self._process.wait()
        self._errors.seek(0)
        return last_line(self._errors.read()) or f"exit code {code}"


def missing(source: Path) -> str | None:
    """Say why a folder is no baseline, None if it is one."""
    if (source / PACKAGE / "__init__.py").is_file():
        return None
    return f"{source} does not hold the package {PACKAGE}: name the top of another checkout, or a site-packages folder"


def run(
    jobs: Sequence[Job],
    contenders: Sequence[Contender],
    baseline: Path,
    pairs: int,
    folder: Path | None,
    report: Report,
) -> list[Pairs]:
    """Measure every job in pairs, with each of our contenders that takes part in it."""
    done: list[Pairs] = []
    for job in jobs:
        for contender in contenders:
            if job.workload in contender.workloads:
                done.append(Pairs(job, contender.name))
                with Version(baseline) as before, Version(imports.ROOT) as now:
                    _compare(done[-1], contender, (before, now), pairs, folder, report)
    return done


def _compare(
    found: Pairs,
    contender: Contender,
    versions: tuple[Version, Version],
    pairs: int,
    folder: Path | None,
    report: Report,
) -> None:
    sides = [("before", versions[0], found.before), ("now", versions[1], found.now)]
    for number in range(pairs + 1):  # the first pair is to warm up: it imports, and is not counted
        report(f"{found.job}, {f'pair {number} of {pairs}' if number else 'warming up'}: {found.contender}")
        for name, version, figures in sides if number % 2 else reversed(sides):
            try:
                measured = version.measure(found.job, contender, folder)
            except WorkerFailed as error:
                found.failed = f"{name}: {error}"
                del found.before[number - 1 :], found.now[number - 1 :]
                return
            if number:
                figures.append(measured)

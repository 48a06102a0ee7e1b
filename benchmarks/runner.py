"""Run every measurement in a fresh process and folder, the contenders taking turns."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from benchmarks import imports
from benchmarks.contender import Contender

LIMIT_SECONDS = 3_600
"""A measurement that takes longer has failed."""

Report = Callable[[str], None]
Figures = dict[str, float | None]
"""What was measured, by name; None is what a contender cannot do."""


class Failed(Exception):
    """A measurement failed, and why."""


class Job(NamedTuple):
    """A workload with its parameters."""

    workload: str
    parameters: dict[str, Any]

    def __str__(self) -> str:
        return " ".join([self.workload, *(f"{name}={value}" for name, value in self.parameters.items())])


@dataclass
class Outcome:
    """What one contender did in one job: figures by name, one dict a round, or why there are none."""

    job: Job
    contender: str
    rounds: list[Figures] = field(default_factory=list)
    failed: str | None = None

    def values(self, figure: str) -> list[float]:
        """Return a figure in every round that has it."""
        return [value for one in self.rounds if (value := one.get(figure)) is not None]

    def median(self, figure: str) -> float | None:
        """Return a figure's median over the rounds, None if it has none."""
        values = self.values(figure)
        return median(values) if values else None

    def summary(self) -> dict[str, Any]:
        """Return what is derived from the rounds."""
        return {"medians": {figure: self.median(figure) for one in self.rounds[:1] for figure in one}}


def run(
    jobs: Sequence[Job], contenders: Sequence[Contender], rounds: int, folder: Path | None, report: Report
) -> list[Outcome]:
    """Run every job with each contender that takes part in it, A B C A B C, ``rounds`` times.

    A failed measurement takes its contender out of that job and is kept as its outcome.
    """
    outcomes: list[Outcome] = []
    for job in jobs:
        entered = {row.name: row for row in contenders if job.workload in row.workloads}
        measured = [Outcome(job, name) for name in entered]
        for number in range(rounds):
            for outcome in measured:
                if outcome.failed is None:
                    report(f"{job}, round {number + 1} of {rounds}: {outcome.contender}")
                    _measure(outcome, entered[outcome.contender], folder)
        outcomes += measured
    return outcomes


def _measure(outcome: Outcome, contender: Contender, parent: Path | None) -> None:
    with TemporaryDirectory(dir=parent, prefix="benchmark-") as folder:
        task = {**outcome.job._asdict(), "contender": outcome.contender, "folder": folder}
        try:
            _work(outcome, task)
        finally:
            contender.clear(Path(folder))


def _work(outcome: Outcome, task: dict[str, Any]) -> None:
    try:
        outcome.rounds.append(work(task))
    except Failed as error:
        outcome.failed = str(error)


def work(task: dict[str, Any]) -> Figures:
    """Return what a process of its own measures for a task, see `benchmarks.worker`; raises `Failed`."""
    command = [sys.executable, "-m", "benchmarks.worker", json.dumps(task)]
    try:
        done = subprocess.run(
            command, cwd=imports.ROOT, env=environment(), capture_output=True, text=True, timeout=LIMIT_SECONDS
        )
    except subprocess.TimeoutExpired:
        raise Failed(f"took longer than {LIMIT_SECONDS} s") from None
    if done.returncode:
        raise Failed(last_line(done.stderr) or f"exit code {done.returncode}")
    figures: Figures = json.loads(done.stdout.splitlines()[-1])
    return figures


def environment() -> dict[str, str]:
    """Return the environment of a process that measures: nothing is traced."""
    return {**os.environ, "LANGSMITH_TRACING": "false", "LANGCHAIN_TRACING_V2": "false"}


def run_imports(modules: Sequence[str], repeats: int, report: Report) -> list[Outcome]:
    """Time the imports, the modules taking turns."""
    job = Job("open", {})
    outcomes = [Outcome(job, module) for module in modules]
    for number in range(repeats if modules else 0):
        report(f"imports, round {number + 1} of {repeats}")
        for outcome in outcomes:
            if outcome.failed is None:
                _import(outcome)
    return outcomes


def _import(outcome: Outcome) -> None:
    try:
        outcome.rounds.append({"milliseconds": imports.milliseconds(outcome.contender)})
    except subprocess.CalledProcessError as error:
        outcome.failed = last_line(error.stderr)


def last_line(errors: str) -> str:
    """Return the last line of a traceback, which names the error."""
    return next((line.strip() for line in reversed(errors.splitlines()) if line.strip()), "")

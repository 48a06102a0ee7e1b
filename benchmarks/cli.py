"""The command line: what to run, with whom, and where the results go."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sqlite3
import sys
from collections.abc import Sequence
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

from benchmarks import imports, plot, report, runner
from benchmarks.contenders import CONTENDERS, Contender, cannot_import
from benchmarks.runner import Job, Outcome

WORKLOADS = ("chat", "files", "operations", "open")
FULL_TURNS = 1_000
PACKAGES = (
    "charm-checkpoint",
    "langgraph",
    "langgraph-checkpoint",
    "langgraph-checkpoint-sqlite",
    "langchain-core",
    "aiosqlite",
)

DESCRIPTION = """\
Measure our savers and others side by side, in one run on one machine.

chat        a chat that grows by two messages a turn, one invoke a turn, durability="sync"
files       a dict of many files of 4 kB, one of them changed a step, durability="sync"
operations  get_tuple, put, put_writes and list by themselves, blocking and async
open        importing the package in a fresh process
"""

EPILOG = """\
Every measurement is made in a process and a folder of its own, and the contenders take turns, so
that none gets the machine's better minutes. A ratio of 0.50 is half the time, or half the bytes.
The official savers store 350 MB for 400 turns and over 2 GB for 1,000; all of it is removed again.

examples:
  python -m benchmarks                                      all workloads, 100 and 400 turns
  python -m benchmarks --full --plot growth.png             the whole story
  python -m benchmarks --only operations --contenders SqliteSaver,"charm sqlite"
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmarks; return 1 if anything failed, 2 if the command line is wrong."""
    options = parser().parse_args(argv)
    chosen = _chosen(options.contenders)
    if options.plot and not plot.available():
        parser().error(plot.INSTALL)
    modules = imports.MODULES if "open" in options.only else ()
    absent = {row.name: reason for row in chosen if (reason := row.missing())}
    absent |= {f"import {module}": reason for module in modules if (reason := cannot_import(module))}
    if options.require and absent:
        parser().error("; ".join(f"{name}: {reason}" for name, reason in absent.items()))
    present = [row for row in chosen if row.name not in absent]
    outcomes = runner.run(_jobs(options), present, options.rounds, options.folder, _progress)
    importable = [module for module in modules if f"import {module}" not in absent]
    outcomes += runner.run_imports(importable, imports.REPEATS, _progress)
    _write(options, outcomes, absent)
    return 1 if any(outcome.failed for outcome in outcomes) else 0


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    made = argparse.ArgumentParser(
        "python -m benchmarks",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = made.add_argument
    add("--only", type=_workloads, default=WORKLOADS, metavar="A,B", help="workloads to run (default: all four)")
    names = ", ".join(row.name for row in CONTENDERS)
    add("--contenders", type=_names, metavar="A,B", help=f"who takes part (default: all): {names}")
    add("--require", action="store_true", help="fail if a contender cannot take part, instead of skipping it")
    add("--turns", type=_counts, default=(100, 400), metavar="N,N", help="lengths of the chats (default: 100,400)")
    add("--full", action="store_true", help=f"add a chat of {FULL_TURNS:,} turns; takes minutes and some 2 GB of disk")
    add("--files", type=_count, default=500, metavar="N", help="files in the dict (default: 500)")
    add("--steps", type=_count, default=200, metavar="N", help="changes made to them (default: 200)")
    add("--repeats", type=_count, default=200, metavar="N", help="calls of each operation (default: 200)")
    add("--rounds", type=_count, default=3, metavar="N", help="times everything is measured (default: 3)")
    add("--folder", type=Path, metavar="DIR", help="where the temporary files go (default: the system's place)")
    add("--json", type=Path, metavar="FILE", help="also write every figure of every round to this file")
    add("--plot", type=Path, metavar="FILE", help="also measure how the longest chat's store grows, and draw it")
    return made


def _names(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(","))
    _all_known(names, [row.name for row in CONTENDERS], "contender")
    return names


def _workloads(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(","))
    _all_known(names, WORKLOADS, "workload")
    return names


def _all_known(names: Sequence[str], known: Sequence[str], kind: str) -> None:
    for name in names:
        if name not in known:
            raise argparse.ArgumentTypeError(f"no {kind} {name!r}; there are: {', '.join(known)}")


def _counts(text: str) -> tuple[int, ...]:
    return tuple(sorted({_count(part) for part in text.split(",")}))


def _count(text: str) -> int:
    if not text.strip().isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def _chosen(names: Sequence[str] | None) -> list[Contender]:
    return [row for row in CONTENDERS if names is None or row.name in names]


def _turns(options: argparse.Namespace) -> list[int]:
    return sorted({*options.turns, *([FULL_TURNS] if options.full else [])})


def _jobs(options: argparse.Namespace) -> list[Job]:
    jobs = {
        "chat": [Job("chat", {"turns": turns}) for turns in _turns(options)],
        "files": [Job("files", {"files": options.files, "steps": options.steps})],
        "operations": [Job("operations", {"repeats": options.repeats})],
    }
    wanted = [job for name, some in jobs.items() if name in options.only for job in some]
    return [*wanted, Job("growth", {"turns": _turns(options)[-1]})] if options.plot else wanted


def _progress(line: str) -> None:
    sys.stderr.write(line + "\n")


def _write(options: argparse.Namespace, outcomes: list[Outcome], absent: dict[str, str]) -> None:
    parts = [_heading(options.rounds), *report.tables(outcomes, {row.name: row for row in CONTENDERS})]
    if absent:
        parts.append("Skipped:\n\n" + "".join(f"- {name}: {reason}\n" for name, reason in absent.items()))
    sys.stdout.write("\n".join(parts))
    if options.json:
        options.json.write_text(json.dumps(_record(options.rounds, outcomes, absent), indent=2) + "\n")
    if options.plot:
        plot.draw([one for one in outcomes if one.job.workload == "growth"], options.plot)


def _heading(rounds: int) -> str:
    made = "one round" if rounds == 1 else f"medians of {rounds} rounds"
    return "# Benchmarks\n\n" + ", ".join(f"{name} {value}" for name, value in _environment().items()) + f"; {made}.\n"


def _record(rounds: int, outcomes: list[Outcome], absent: dict[str, str]) -> dict[str, Any]:
    rows = [
        {
            **asdict(outcome),
            "job": outcome.job._asdict(),
            "medians": {figure: outcome.median(figure) for one in outcome.rounds[:1] for figure in one},
        }
        for outcome in outcomes
    ]
    return {"environment": _environment(), "rounds": rounds, "skipped": absent, "outcomes": rows}


def _environment() -> dict[str, str]:
    machine = {
        "Python": platform.python_version(),
        "SQLite": sqlite3.sqlite_version,
        "system": f"{platform.system()} {platform.machine()}",
        "cores": str(os.cpu_count()),
    }
    return machine | {name: version for name in PACKAGES if (version := _version(name))}


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None

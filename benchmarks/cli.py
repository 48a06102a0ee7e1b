"""The command line: what to run, with whom, and where the results go."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks import environment, imports, memories, pairs, plot, report, retrieval, runner, sanitiser, servers
from benchmarks.contender import Contender, cannot_import
from benchmarks.contenders import CONTENDERS
from benchmarks.pairs import Pairs
from benchmarks.runner import Job, Outcome

WORKLOADS = ("chat", "files", "operations", "history", "messages", "tasks", "latency", "store", "large", "open")
FULL_TURNS = 1_000
TASK_ROUNDS = 30
FAR_TURNS = 20
LARGE = (1_000, 100_000)
LARGE_STORE, LARGE_CALLS = 10_000, 2_000_000
"""Items of a store at least, if one namespace has less; and of how many, all told, a search is asked again."""
ROUNDS, PAIRS = 3, 15

DESCRIPTION = """\
Measure our savers and others side by side, in one run on one machine.

chat        a chat that grows by two messages a turn, one invoke a turn, durability="sync"
files       a dict of many files of 4 kB, one of them changed a step, durability="sync"
operations  get_tuple, put, put_writes and list by themselves, blocking and async
history     get_state_history and list of a long chat's last checkpoints, at first and again
messages    append_messages and load_messages on a long message history; for our own stores
tasks       many asyncio tasks at once, each reading and saving its own thread
latency     a chat with a server that is far away, and its round trips; for stores with servers
store       puts, gets, searches and listings of long-term memory, beside LangGraph's own stores
large       searches in namespaces of many items, at first and again, with numpy and without
open        importing the package in a fresh process
"""

EPILOG = """\
What searching finds, instead of how fast it is, is measured by `python -m benchmarks retrieval --help`,
durable memories by `python -m benchmarks memories --help`, and what the sanitiser takes out by
`python -m benchmarks sanitiser --help`.

Every measurement is made in a process and a folder of its own, and the contenders take turns, so
that none gets the machine's better minutes. A ratio of 0.50 is half the time, or half the bytes.
The official savers store 350 MB for 400 turns and over 2 GB for 1,000; all of it is removed again.

Postgres and Redis are measured on the servers at $PG_URL (whose user may create databases) and
$REDIS_URL; those not set are started for the run with charm_checkpoint.servers, and stopped at its
end: Postgres with its default settings, Valkey with an append-only file.

With --baseline, our stores are measured against another version of this package instead: each
measurement is made by both, one right after the other, taking turns in who begins, in a process
each that stays. What is shown is now / before: the median of all pairs, between what it surely lies
(95 %; if both ends are on one side of 1.000, there is a difference), and the quartiles of the pairs.
On a busy machine, many short pairs (--rounds 50 --repeats 10) tell more than a few long ones; with
this checkout's own folder as the baseline, they show what noise is. Imports (open) are left out.

examples:
  python -m benchmarks                                      all workloads, 100 and 400 turns
  python -m benchmarks --full --plot growth.png             the whole story
  python -m benchmarks --only operations --contenders SqliteSaver,"charm sqlite"
  python -m benchmarks --baseline ../before --only operations,messages
  python -m benchmarks --only tasks,latency --contenders AsyncPostgresSaver,"charm postgres async"
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmarks; return 1 if anything failed, 2 if the command line is wrong."""
    argv = sys.argv[1:] if argv is None else argv
    if argv[:1] == ["retrieval"]:
        return retrieval.main(argv[1:])
    if argv[:1] == ["memories"]:
        return memories.main(argv[1:])
    if argv[:1] == ["sanitiser"]:
        return sanitiser.main(argv[1:])
    options = parser().parse_args(argv)
    chosen = _chosen(options)
    if options.plot and not plot.available():
        parser().error(plot.INSTALL)
    if options.baseline and (reason := _no_baseline(options, chosen)):
        parser().error(reason)
    taking_part = [row for row in chosen if {*row.workloads} & {*options.only} and not row.cannot_import()]
    with servers.running([variable for row in taking_part for variable in row.variables]) as unstarted:
        return _run(options, chosen, unstarted)


def _run(options: argparse.Namespace, chosen: Sequence[Contender], unstarted: Mapping[str, str]) -> int:
    modules = imports.MODULES if "open" in options.only and not options.baseline else ()
    absent = {row.name: reason for row in chosen if (reason := _absence(row, unstarted))}
    absent |= {f"import {module}": reason for module in modules if (reason := cannot_import(module))}
    if options.require and absent:
        parser().error("; ".join(f"{name}: {reason}" for name, reason in absent.items()))
    present = [row for row in chosen if row.name not in absent]
    importable = [module for module in modules if f"import {module}" not in absent]
    outcomes = _measure(options, present, importable)
    about = environment.describe({variable for row in present for variable in row.variables})
    _write(options, about, outcomes, absent)
    return 1 if any(outcome.failed for outcome in outcomes) else 0


def _measure(
    options: argparse.Namespace, present: Sequence[Contender], modules: Sequence[str]
) -> Sequence[Outcome | Pairs]:
    times, jobs = _times(options), _jobs(options)
    if options.baseline:
        return pairs.run(jobs, present, options.baseline.resolve(), times, options.folder, _progress)
    outcomes = runner.run(jobs, present, times, options.folder, _progress)
    return outcomes + runner.run_imports(modules, imports.REPEATS, _progress)


def _times(options: argparse.Namespace) -> int:
    return int(options.rounds or (PAIRS if options.baseline else ROUNDS))


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    made = argparse.ArgumentParser(
        "python -m benchmarks",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = made.add_argument
    add("--only", type=_workloads, default=WORKLOADS, metavar="A,B", help="workloads to run (default: all)")
    names = ", ".join(row.name for row in CONTENDERS)
    add("--contenders", type=_names, metavar="A,B", help=f"who takes part (default: all): {names}")
    add("--require", action="store_true", help="fail if a contender cannot take part, instead of skipping it")
    add("--turns", type=_counts, default=(100, 400), metavar="N,N", help="lengths of the chats (default: 100,400)")
    add("--full", action="store_true", help=f"add a chat of {FULL_TURNS:,} turns; takes minutes and some 2 GB of disk")
    add("--files", type=_count, default=500, metavar="N", help="files in the dict (default: 500)")
    add("--steps", type=_count, default=200, metavar="N", help="changes made to them (default: 200)")
    add("--repeats", type=_count, default=200, metavar="N", help="calls of each operation (default: 200)")
    add("--history", type=_count, default=1_000, metavar="N", help="turns of the chat read back (default: 1000)")
    add("--tasks", type=_count, default=32, metavar="N", help="asyncio tasks at once (default: 32)")
    add("--items", type=_count, default=10_000, metavar="N", help="items of the store (default: 10000)")
    add("--spaces", type=_count, default=100, metavar="N", help="namespaces they are in (default: 100)")
    add(
        "--large",
        type=_counts,
        default=(1_000, 100_000),
        metavar="N,N",
        help="items of a namespace (default: 1000,100000)",
    )
    add("--delay", type=_count, default=20, metavar="MS", help="added to a round trip in latency (default: 20)")
    add("--rounds", type=_count, metavar="N", help=f"times everything is measured (default: {ROUNDS}; pairs: {PAIRS})")
    add("--baseline", type=Path, metavar="DIR", help="measure against the version of this package in a folder")
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


def _chosen(options: argparse.Namespace) -> list[Contender]:
    rows = [row for row in CONTENDERS if row.memory or not options.baseline]
    return [row for row in rows if options.contenders is None or row.name in options.contenders]


def _no_baseline(options: argparse.Namespace, chosen: Sequence[Contender]) -> str | None:
    if options.plot:
        return "--plot draws no baseline: leave out one of the two"
    if not chosen:
        return f"--baseline is for our own stores: {', '.join(row.name for row in CONTENDERS if row.memory)}"
    return pairs.missing(options.baseline)


def _absence(row: Contender, unstarted: Mapping[str, str]) -> str | None:
    return next((unstarted[name] for name in row.variables if name in unstarted), row.missing())


def _turns(options: argparse.Namespace) -> list[int]:
    return sorted({*options.turns, *([FULL_TURNS] if options.full else [])})


def _jobs(options: argparse.Namespace) -> list[Job]:
    jobs = {
        "chat": [Job("chat", {"turns": turns}) for turns in _turns(options)],
        "files": [Job("files", {"files": options.files, "steps": options.steps})],
        "operations": [Job("operations", {"repeats": options.repeats})],
        "history": [Job("history", {"turns": options.history})],
        "messages": [Job("messages", {"repeats": options.repeats})],
        "tasks": [Job("tasks", {"tasks": options.tasks, "rounds": TASK_ROUNDS})],
        "latency": [Job("latency", {"turns": FAR_TURNS, "delay": options.delay})],
        "large": [_large(items, options.repeats) for items in options.large],
        "store": [Job("store", {"items": options.items, "spaces": options.spaces, "repeats": options.repeats})],
    }
    wanted = [job for name, some in jobs.items() if name in options.only for job in some]
    return [*wanted, Job("growth", {"turns": _turns(options)[-1]})] if options.plot else wanted


def _large(items: int, repeats: int) -> Job:
    spaces, most = max(1, LARGE_STORE // items), max(5, LARGE_CALLS // items)
    return Job("large", {"items": items, "spaces": spaces, "repeats": min(repeats, most)})


def _progress(line: str) -> None:
    sys.stderr.write(line + "\n")


def _write(
    options: argparse.Namespace,
    about: Mapping[str, str],
    outcomes: Sequence[Outcome | Pairs],
    absent: Mapping[str, str],
) -> None:
    parts = [_heading(options, about), *report.tables(outcomes, {row.name: row for row in CONTENDERS})]
    if absent:
        parts.append("Skipped:\n\n" + "".join(f"- {name}: {reason}\n" for name, reason in absent.items()))
    sys.stdout.write("\n".join(parts))
    if options.json:
        record = {"environment": about, "rounds": _times(options), "skipped": absent, "outcomes": _rows(outcomes)}
        options.json.write_text(json.dumps(record, indent=2) + "\n")
    if options.plot:
        plot.draw([one for one in outcomes if one.job.workload == "growth"], options.plot)


def _heading(options: argparse.Namespace, about: Mapping[str, str]) -> str:
    rounds = _times(options)
    made = "one round" if rounds == 1 else f"medians of {rounds} rounds"
    if options.baseline:
        made = f"pairs with the version in {options.baseline}"
    return "# Benchmarks\n\n" + ", ".join(f"{name} {value}" for name, value in about.items()) + f"; {made}.\n"


def _rows(outcomes: Sequence[Outcome | Pairs]) -> list[dict[str, Any]]:
    return [{**asdict(outcome), "job": outcome.job._asdict(), **outcome.summary()} for outcome in outcomes]

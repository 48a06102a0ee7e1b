"""The commands around a deploy: what new code makes of the threads of a store, and heads stored anew under it."""

from __future__ import annotations

import importlib
import inspect
import json
import os
import sys
from argparse import Namespace
from typing import TYPE_CHECKING, Any

from charm_checkpoint.cli.commands import is_there, open_store
from charm_checkpoint.cli.terminal import echo, put_json
from charm_checkpoint.errors import ConfigError

if TYPE_CHECKING:
    from charm_checkpoint.checking.report import CheckFinding, CheckReport, MigrateReport
    from charm_checkpoint.memory import Memory


def check(args: Namespace) -> int:
    """Compare the threads with this code; 1 if a program would lose something, fail or stop."""
    graph = None if args.graph is None else load_graph(args.graph)
    with open_store(args) as memory:
        threads = _there(memory, args.thread)
        report = memory.check(graph, sample=args.sample, threads=threads, history=args.history)
    report = report.without(*args.accept or ())
    return _say(report, args.json, _hint(args, report.findings)) or int(threads != args.thread)


def migrate(args: Namespace) -> int:
    """Store the heads anew; 1 if some had to be left as they are."""
    with open_store(args) as memory:
        threads = _there(memory, args.thread)
        report = memory.migrate(dry_run=args.dry_run, threads=threads)
    return _say(report, args.json, _hint(args, report.unknown)) or int(threads != args.thread)


def _hint(args: Namespace, findings: list[CheckFinding]) -> str:
    """Return what to do about classes that are unknown as nothing was imported that could define them."""
    if args.modules or getattr(args, "graph", None) or all(found.kind != "unknown" for found in findings):
        return ""
    graph = " or --graph app:graph" if "graph" in args else ""
    return f"No module of the program was imported: name those that define its classes, as in --import app{graph}."


def _there(memory: Memory, threads: list[str] | None) -> list[str] | None:
    return None if threads is None else [thread for thread in threads if is_there(memory, thread)]


def _say(report: CheckReport | MigrateReport, as_json: bool, hint: str) -> int:
    if as_json:
        put_json(json.dumps(report.as_dict(), indent=2, ensure_ascii=False))
    else:
        for line in report.lines():
            echo(line)
        if hint:
            echo(hint)
    return 0 if report.ok else 1


def load_graph(name: str) -> Any:
    """Return the graph that ``module:name`` is, or that a function of that name makes; raises `ConfigError`."""
    module, _, path = name.partition(":")
    if not (module and path):
        raise ConfigError(f"--graph {name}: name a module and what the graph is called there, as in app:graph")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())  # as `python -m` does, which a console script does not
    try:
        found: Any = importlib.import_module(module)
        for part in path.split("."):
            found = getattr(found, part)
        found = found() if inspect.isroutine(found) else found
        if inspect.iscoroutine(found):
            found.close()
            raise TypeError("it is made by an async function; name one that is not, or the graph itself")
        if found is None:
            raise TypeError("it is None")  # which would be a check without a graph
    except (Exception, SystemExit) as error:  # a module may raise anything, or be a program that ends
        said = str(error) if isinstance(error, (ImportError, AttributeError)) else f"{type(error).__name__}: {error}"
        raise ConfigError(f"--graph {name}: {said}") from error
    return found

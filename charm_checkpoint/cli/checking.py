"""Commands that check a store: for damage, for what new code makes of its threads, and how it is doing."""

from __future__ import annotations

import importlib
import inspect
import os
import sys
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from charm_checkpoint.cli.asking import confirm
from charm_checkpoint.cli.groups import Part
from charm_checkpoint.cli.opening import NO_STORE, import_modules, is_there, named, open_store
from charm_checkpoint.cli.options import DryRun, Import, Json, Thread, Threads, Url, Yes
from charm_checkpoint.cli.output import print_json
from charm_checkpoint.cli.progress import Tell, progress
from charm_checkpoint.cli.terminal import echo
from charm_checkpoint.config.masking import mask
from charm_checkpoint.errors import ConfigError

if TYPE_CHECKING:
    from charm_checkpoint.checking.doctor import DoctorReport
    from charm_checkpoint.checking.integrity import IntegrityProgress, IntegrityReport
    from charm_checkpoint.checking.report import CheckFinding, CheckReport, MigrateReport
    from charm_checkpoint.memory import Memory


def add_commands(app: typer.Typer) -> None:
    """Add these commands."""
    part = Part(app, "Check")
    part.add(
        check,
        examples="charm-checkpoint check --url sqlite:///agent.db\n"
        "charm-checkpoint check --graph app:graph --url sqlite:///agent.db",
    )
    part.add(migrate, examples="charm-checkpoint migrate --import app --dry-run --url sqlite:///agent.db")
    part.add(repair, examples="charm-checkpoint repair 42 --url file:///srv/agent")
    part.add(doctor, examples="charm-checkpoint doctor --url postgresql://localhost/agent")


def check(
    graph: Annotated[
        str | None,
        typer.Option(metavar="MODULE:NAME", help="Compare with this graph, as in app:graph.", show_default=False),
    ] = None,
    integrity: Annotated[
        bool, typer.Option("--integrity", help="Look at all that is stored, too, where there is a graph or --import.")
    ] = False,
    repaired: Annotated[
        bool, typer.Option("--repair", help="Mend what can be mended without losing anything; asks first.")
    ] = False,
    sample: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Look at N threads, the same ones each time.", show_default=False),
    ] = None,
    thread: Threads = None,
    history: Annotated[bool, typer.Option("--history", help="Compare older checkpoints, too.")] = False,
    accept: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KIND:WHAT",
            help="Let this pass, as in lost:app:Order.note or node:ask*; may be repeated.",
            show_default=False,
        ),
    ] = None,
    as_json: Json = False,
    yes: Yes = False,
    url: Url = None,
    modules: Import = None,
) -> int:
    """Look for damage in all that is stored; or tell what new code would make of it.

    By itself it reads everything and names what is damaged, with its thread and checkpoint, and what to do. With
    --graph or --import it tells what a program would make of the threads, before it is deployed.

    Exit code 1 if something is damaged, or if a program would lose something, fail or stop.
    """
    made = None if graph is None else load_graph(graph)
    is_compared = bool(graph or modules or history or accept)
    wanted: Any = "only" if not is_compared else integrity or repaired
    with open_store(url, modules) as memory:
        threads = _there(memory, thread)
        if repaired:
            question = f"Repair what can be repaired without loss in {mask(str(url))}?"
            confirm(question, yes, "nothing was repaired")
        so_far = _SoFar()
        checked = partial(memory.check, made, sample=sample, threads=threads, history=history, integrity=wanted)
        try:
            with progress("checking", "threads") as tell:
                report = checked(repair=repaired, on_progress=partial(so_far.take, tell))
        except KeyboardInterrupt:
            so_far.say(as_json)
            raise
    report = report.without(*accept or ())
    imported = bool(modules or graph)
    return _say(report, as_json, _hint(report.findings, imported, " or --graph app:graph")) or int(threads != thread)


class _SoFar:
    """What a check has found, for when it is interrupted."""

    def __init__(self) -> None:
        self._last: IntegrityProgress | None = None

    def take(self, tell: Tell, done: IntegrityProgress) -> None:
        self._last = done
        tell(done.threads, what=done.thread or "")

    def say(self, as_json: bool) -> None:
        if self._last is not None and self._last.report is not None:
            self._last.report.is_whole = False
            _say(self._last.report, as_json, "")


def doctor(as_json: Json = False, url: Url = None, modules: Import = None) -> int:
    """Tell how the store is doing: reached, how quickly, what its settings promise, what to change.

    Changes nothing. Exit code 1 if it cannot be reached, or something is wrong with it.
    """
    from charm_checkpoint import open_memory

    if not url:
        raise ConfigError(NO_STORE)
    import_modules(modules)
    with named(url):
        memory = open_memory(url)
    with memory:
        report = memory.doctor()
    return _say(report, as_json, "")


def migrate(
    dry_run: DryRun = False,
    thread: Threads = None,
    as_json: Json = False,
    url: Url = None,
    modules: Import = None,
) -> int:
    """Store the heads of threads anew, as the classes are now.

    Exit code 1 if some had to be left as they are.
    """
    with open_store(url, modules) as memory:
        threads = _there(memory, thread)
        report = memory.migrate(dry_run=dry_run, threads=threads)
    return _say(report, as_json, _hint(report.unknown, bool(modules))) or int(threads != thread)


def repair(thread: Thread, yes: Yes = False, as_json: Json = False, url: Url = None, modules: Import = None) -> int:
    """Cut off the damaged end of a thread's log in local files."""
    with open_store(url, modules) as memory:
        cut = getattr(memory.store.backend, "repair", None)
        if cut is None:
            raise ConfigError("logs, whose end may be damaged, are kept by stores of local files only: file://")
        if not is_there(memory, thread):
            return 1
        question = f"Cut off what is behind the last sound record of the thread {thread!r} in {mask(str(url))}?"
        confirm(question, yes, "nothing was cut off")
        lost: int = memory.store.run(partial(cut, thread), write=True, thread=thread)
    if as_json:
        print_json({"thread_id": thread, "bytes_cut_off": lost})
    else:
        echo(f"{thread}: cut off {lost:,} bytes" if lost else f"{thread}: nothing to cut off")
    return 0


def _hint(findings: list[CheckFinding], imported: bool, graph: str = "") -> str:
    """Return what to do about classes that are unknown as nothing was imported that could define them."""
    if imported or all(found.kind != "unknown" for found in findings):
        return ""
    return f"No module of the program was imported: name those that define its classes, as in --import app{graph}."


def _there(memory: Memory, threads: list[str] | None) -> list[str] | None:
    return None if threads is None else [thread for thread in threads if is_there(memory, thread)]


def _say(report: CheckReport | MigrateReport | DoctorReport | IntegrityReport, as_json: bool, hint: str) -> int:
    if as_json:
        print_json(report.as_dict())
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

"""Commands that make a store smaller."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from charm_checkpoint.cli import erasing, sweeping
from charm_checkpoint.cli.asking import confirm
from charm_checkpoint.cli.groups import Part
from charm_checkpoint.cli.opening import is_there, open_store
from charm_checkpoint.cli.options import DryRun, Import, Json, Thread, Url, Yes, one_of
from charm_checkpoint.cli.output import print_json
from charm_checkpoint.cli.progress import going_on
from charm_checkpoint.cli.terminal import echo
from charm_checkpoint.cli.values import plural
from charm_checkpoint.config.masking import mask
from charm_checkpoint.errors import Later, StoreCorrupt

if TYPE_CHECKING:
    from charm_checkpoint.memory import Memory

STRATEGIES = ("keep_latest", "delete")


def add_commands(app: typer.Typer) -> None:
    """Add these commands."""
    part = Part(app, "Tidy")
    part.add(
        delete,
        examples="charm-checkpoint delete 42 --url sqlite:///agent.db\ncharm-checkpoint delete 42 --dry-run",
    )
    part.add(
        prune,
        examples="charm-checkpoint prune 42 43 --url sqlite:///agent.db\n"
        "charm-checkpoint prune 42 --keep-last 10 --yes",
    )
    sweeping.add_commands(part)
    erasing.add_commands(part)


def delete(
    thread: Thread,
    yes: Yes = False,
    dry_run: DryRun = False,
    as_json: Json = False,
    url: Url = None,
    modules: Import = None,
) -> int:
    """Delete a thread: its checkpoints and its messages."""
    with open_store(url, modules) as memory:
        if not is_there(memory, thread):
            return 1
        count = _count(memory, thread)
        if not dry_run:
            confirm(f"Delete the thread {thread!r} from {mask(str(url))}?", yes)
            memory.delete_thread(thread)
    if as_json:
        print_json({"thread_id": thread, "checkpoints": count, "dry_run": dry_run})
    elif dry_run:
        echo(f"would delete {thread}: {_shown(count)}, and its messages")
    else:
        echo(f"deleted {thread}")
    return 0


def prune(
    threads: Annotated[list[str], typer.Argument(metavar="THREAD...", help="Threads' ids.", show_default=False)],
    strategy: Annotated[
        str,
        typer.Option(
            metavar="{" + ",".join(STRATEGIES) + "}",
            help="Keep the latest checkpoint of each namespace, or delete all.",
        ),
    ] = "keep_latest",
    keep_last: Annotated[
        int | None,
        typer.Option(
            "--keep-last", min=1, metavar="N", help="Keep the last N of each namespace instead.", show_default=False
        ),
    ] = None,
    yes: Yes = False,
    dry_run: DryRun = False,
    as_json: Json = False,
    url: Url = None,
    modules: Import = None,
) -> int:
    """Remove old checkpoints of threads; what waits for an answer goes on, and the latest state stays.

    Exit code 1 if a thread is not there or damaged; the others are pruned.
    """
    one_of("--strategy", strategy, STRATEGIES)
    later = Later()
    with open_store(url, modules) as memory:
        there = [thread for thread in threads if is_there(memory, thread)]
        pruned = [_planned(memory, thread, strategy, keep_last) for thread in there]
        if not dry_run and any(each.before is None or each.goes for each in pruned):
            _confirm(there, strategy, url, yes)
            with later, going_on("what was removed is gone, and the same command goes on"):
                _prune(memory, there, strategy, keep_last)
            pruned = [each._replace(now=_count(memory, each.thread)) for each in pruned]
    if as_json:
        done = [{"thread_id": each.thread, "checkpoints": each.before, "removed": each.goes} for each in pruned]
        print_json({"threads": done, "dry_run": dry_run})
    else:
        for each in pruned:
            echo(each.planned if dry_run else each.done)
    later.tell()
    return 0 if len(there) == len(threads) else 1


class _Pruned(NamedTuple):
    """How many checkpoints a thread has, and will have; None where it is damaged, and nobody knows."""

    thread: str
    before: int | None
    now: int | None

    @property
    def goes(self) -> int | None:
        return None if self.before is None or self.now is None else self.before - self.now

    @property
    def planned(self) -> str:
        goes = "?" if self.goes is None else f"{self.goes:,}"
        return f"{self.thread}: {goes} of {_shown(self.before)} would go"

    @property
    def done(self) -> str:
        return f"{self.thread}: {_shown(self.before)} before, {'?' if self.now is None else self.now} now"


def _shown(count: int | None) -> str:
    return "? checkpoints" if count is None else plural(count, "checkpoint")


def _confirm(threads: list[str], strategy: str, url: str | None, yes: bool) -> None:
    what = "all" if strategy == "delete" else "older"
    confirm(f"Delete {what} checkpoints of {', '.join(map(repr, threads))} from {mask(str(url))}?", yes)


def _prune(memory: Memory, threads: list[str], strategy: str, keep_last: int | None) -> None:
    from charm_checkpoint.retention import Retention

    if keep_last is None or strategy == "delete":
        memory.get_langgraph_checkpointer().prune(threads, strategy=strategy)
    else:
        memory.sweep(Retention(keep_last=keep_last, keep_pinned=False), threads=threads)


def _planned(memory: Memory, thread: str, strategy: str, keep_last: int | None) -> _Pruned:
    from charm_checkpoint.retention import Retention

    latest = keep_last is None
    policy = Retention(keep_last or 1, keep_pinned=False, keep_branches=not latest, keep_interrupted=not latest)
    count = _count(memory, thread)
    if count is None or strategy == "delete":
        return _Pruned(thread, count, None if count is None else 0)
    report = memory.sweep(policy, threads=[thread], dry_run=True)
    return _Pruned(thread, count, None if report.damaged else count - report.planned.checkpoints)


def _count(memory: Memory, thread: str) -> int | None:
    """Return how many checkpoints a thread has; None of one that is damaged."""
    try:
        found = memory.usage(thread)
    except StoreCorrupt:
        return None
    return None if found.damaged else found.checkpoints

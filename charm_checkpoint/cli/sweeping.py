"""The commands of retention: a sweep by a policy, pins, and room given back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from charm_checkpoint.cli.asking import confirm
from charm_checkpoint.cli.groups import Part
from charm_checkpoint.cli.opening import is_there, open_store
from charm_checkpoint.cli.options import DryRun, Json, Thread, Threads, Url, Yes
from charm_checkpoint.cli.output import print_json
from charm_checkpoint.cli.progress import going_on, progress
from charm_checkpoint.cli.terminal import echo, echo_error
from charm_checkpoint.cli.typing_again import to_type
from charm_checkpoint.cli.values import plural, size
from charm_checkpoint.config.masking import mask
from charm_checkpoint.errors import ConfigError

if TYPE_CHECKING:
    from charm_checkpoint.memory import Memory
    from charm_checkpoint.retention import Retention
    from charm_checkpoint.retention.reports import Amount, SpaceReport, SweepReport

KEPT = "no checkpoint goes unless it, or --keep-for, is given"


def add_commands(part: Part) -> None:
    """Add these commands."""
    part.add(
        sweep,
        examples="charm-checkpoint sweep --keep-last 50 --ttl 90d --dry-run --url sqlite:///agent.db\n"
        "charm-checkpoint sweep --keep-last 50 --yes",
    )
    part.add(pin, examples="charm-checkpoint pin 42 --url sqlite:///agent.db")
    part.add(unpin, examples="charm-checkpoint unpin 42 --url sqlite:///agent.db")
    part.add(compact, examples="charm-checkpoint compact --url sqlite:///agent.db")


def sweep(
    keep_last: Annotated[
        int | None,
        typer.Option(
            "--keep-last", min=1, metavar="N", help="Keep the last N checkpoints of each namespace.", show_default=False
        ),
    ] = None,
    keep_for: Annotated[
        str | None,
        typer.Option(
            "--keep-for", metavar="AGE", help="Keep those that are younger, such as 90d, too.", show_default=False
        ),
    ] = None,
    ttl: Annotated[
        str | None,
        typer.Option(metavar="AGE", help="Remove threads that nobody wrote to for so long.", show_default=False),
    ] = None,
    keep_interrupted: Annotated[
        bool, typer.Option("--keep-interrupted/--no-keep-interrupted", help="Keep what waits for an answer.")
    ] = True,
    pace: Annotated[
        str, typer.Option(metavar="PACE", help="Leave room to others: auto, while they are felt; gentle; or full.")
    ] = "auto",
    thread: Threads = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: Json = False,
    url: Url = None,
) -> int:
    """Remove what a policy does not keep, of all threads: the one that is given, or the URL's own.

    Heads stay, and what waits for an answer, is pinned, or is needed by what stays. Others may write meanwhile. What is
    done when it is interrupted stays done. Exit code 1 if a thread is damaged, or was written to all the while.
    """
    with open_store(url) as memory:
        policy = _policy(memory, keep_last, keep_for, ttl, keep_interrupted)
        named = [each for each in thread or [] if is_there(memory, each)]
        if len(named) < len(thread or []):
            return 1
        if not dry_run:
            confirm(f"Remove what is not kept by {_told(policy)} from {mask(str(url))}?", yes, "nothing was removed")
        with going_on("what was removed is gone, and the same command goes on", dry_run):
            report = _swept(memory, policy, named or None, dry_run, pace)
    if as_json:
        print_json(report.as_dict())
    else:
        _tell(report, url)
    return 1 if report.damaged or report.busy else 0


def _policy(
    memory: Memory, keep_last: int | None, keep_for: str | None, ttl: str | None, keep_interrupted: bool
) -> Retention:
    from charm_checkpoint.retention import Retention

    if keep_last is None and keep_for is None and ttl is None:
        if memory.retention is None:
            raise ConfigError("say what is kept: --keep-last, --keep-for or --ttl, or keep_last= and such in the URL")
        return memory.retention
    return Retention(keep_last, keep_for, ttl, keep_interrupted)


def _told(policy: Retention) -> str:
    known = {"keep_last": policy.keep_last, "keep_for": policy.keep_for, "ttl": policy.ttl}
    units = {name: f"{value:g}s" if isinstance(value, float) else value for name, value in known.items()}
    return ", ".join(f"{name}={value}" for name, value in units.items() if value is not None)


def _swept(memory: Memory, policy: Retention, threads: list[str] | None, dry_run: bool, pace: Any) -> SweepReport:
    with progress("looking" if dry_run else "sweeping", "threads") as tell:

        def told(report: SweepReport) -> None:
            tell(report.looked_at)

        return memory.sweep(policy, dry_run=dry_run, threads=threads, on_progress=told, pace=pace)


def _tell(report: SweepReport, url: str | None) -> None:
    said, amount = ("would go", report.planned) if report.dry_run else ("removed", report.done)
    echo(f"{plural(report.looked_at, 'thread')} looked at")
    echo(f"{said}: {_of(amount)}")
    if report.idle.threads:
        echo(f"of these, whole threads that were idle: {_of(report.idle)}")
    if report.unfinished:
        echo(f"of these, what copies left that were not finished: {plural(report.unfinished, 'thread')}")
    if report.kept_pinned:
        echo(f"kept since they are pinned: {plural(report.kept_pinned, 'thread')}")
    if report.kept_waiting:
        echo(f"kept since they wait for an answer: {plural(report.kept_waiting, 'thread')}")
    if not report.dry_run and report.after is not None:
        echo(_room(report.after, url))
    for thread in report.busy:
        echo_error(f"{thread}: was written to all the while; sweep it again")
    for problem in report.damaged:
        echo_error(f"{problem.thread_id or 'a thread'}: {problem.reason}")


def _of(amount: Amount) -> str:
    parts = [plural(amount.checkpoints, "checkpoint"), f"of {plural(amount.threads, 'thread')}"]
    counted = [] if amount.chunks is None else [plural(amount.chunks, "chunk")]
    counted += [] if amount.bytes is None else [size(amount.bytes)]
    return " ".join(parts) + (f" ({', '.join(counted)})" if counted else "")


def _room(space: SpaceReport, url: str | None) -> str:
    if space.taken is None:
        return "the store does not tell how much room it takes"
    free = f", {size(space.free)} of it free: `{to_type(url, 'compact')}` gives that back" if space.free else ""
    return f"the store takes {size(space.taken)} of {space.kind}{free}"


def pin(thread: Thread, as_json: Json = False, url: Url = None) -> int:
    """Have no policy remove anything of a thread. To delete or erase it is still possible."""
    return _pinned(thread, url, True, as_json)


def unpin(thread: Thread, as_json: Json = False, url: Url = None) -> int:
    """Let policies hold for a thread again."""
    return _pinned(thread, url, False, as_json)


def _pinned(thread: str, url: str | None, pinned: bool, as_json: bool) -> int:
    with open_store(url) as memory:
        if not is_there(memory, thread):
            return 1
        (memory.pin if pinned else memory.unpin)(thread)
    if as_json:
        print_json({"thread_id": thread, "pinned": pinned})
    else:
        echo(f"{'pinned' if pinned else 'unpinned'} {thread}")
    return 0


def compact(as_json: Json = False, url: Url = None) -> int:
    """Give room that holds nothing back to the disk. Postgres and Redis do that by themselves, and only tell."""
    with open_store(url) as memory, progress("compacting", "bytes free") as tell:
        report = memory.compact(lambda space: tell(space.free or 0))
    if as_json:
        print_json(report.as_dict())
    else:
        freed = f"gave {size(report.freed)} back; " if report.freed is not None else ""
        echo(f"{freed}{_room(report, url)}")
    return 0

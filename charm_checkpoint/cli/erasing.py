"""The command that erases: a thread, a namespace of items, or all of a tenant."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from charm_checkpoint.cli.asking import confirm
from charm_checkpoint.cli.groups import Part
from charm_checkpoint.cli.items.options import labels_of, of_namespaces
from charm_checkpoint.cli.opening import is_there, open_store
from charm_checkpoint.cli.options import DryRun, Json, Url, Yes
from charm_checkpoint.cli.output import print_json
from charm_checkpoint.cli.progress import going_on
from charm_checkpoint.cli.terminal import echo, echo_error
from charm_checkpoint.cli.values import plural, size
from charm_checkpoint.config.masking import mask
from charm_checkpoint.errors import ConfigError

if TYPE_CHECKING:
    from charm_checkpoint.retention.reports import EraseReport


def add_commands(part: Part) -> None:
    """Add these commands."""
    part.add(
        erase,
        examples="charm-checkpoint erase 42 --url sqlite:///agent.db\n"
        "charm-checkpoint erase --namespace users/7 --dry-run\n"
        "charm-checkpoint erase --tenant --yes",
    )


def erase(
    thread: Annotated[
        str | None, typer.Argument(metavar="[THREAD]", help="The thread's id.", show_default=False)
    ] = None,
    namespace: Annotated[
        str | None,
        typer.Option(
            metavar="NAMESPACE",
            help="The items of it and below it: as users.7 or users/7, or as a JSON list.",
            show_default=False,
        ),
    ] = None,
    tenant: Annotated[bool, typer.Option("--tenant", help="All threads and items that the URL can see.")] = False,
    remember: Annotated[
        str, typer.Option(metavar="AGE", help="How long a hash of the name stays, which refuses late writers; 0: not.")
    ] = "30d",
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: Json = False,
    url: Url = None,
) -> int:
    """Erase for good: a thread with its messages and its name, or items with what was made of them.

    A pin does not hinder it. What was copied elsewhere before, such as backups, is not erased by it.
    """
    if [thread is not None, namespace is not None, tenant].count(True) != 1:
        raise ConfigError("say what to erase: either a thread, or --namespace, or --tenant")
    labels = None if namespace is None else labels_of(namespace)
    with open_store(url) as memory, of_namespaces():
        if thread is not None and not is_there(memory, thread):
            return 1
        if not dry_run:
            what = f"the thread {thread!r}" if thread is not None else f"all items of {namespace!r}"
            what = "everything" if tenant else what
            confirm(f"Erase {what} from {mask(str(url))}, for good?", yes, "nothing was erased")
        with going_on("some of it may be gone, and the same command erases the rest", dry_run):
            report = memory.erase(thread, tenant=tenant, namespace=labels, remember=remember, dry_run=dry_run)
    if as_json:
        print_json(report.as_dict())
    else:
        _tell(report)
    return 0


def _tell(report: EraseReport) -> None:
    counts = {
        "thread": report.threads,
        "checkpoint": report.checkpoints,
        "message": report.messages,
        "item": report.items,
        "damaged thread": report.damaged,
    }
    told = [plural(count, noun) for noun, count in counts.items() if count]
    echo(f"{'would erase' if report.dry_run else 'erased'} {', '.join(told) or 'nothing'} ({size(report.bytes)})")
    for note in report.notes:
        echo_error(note)

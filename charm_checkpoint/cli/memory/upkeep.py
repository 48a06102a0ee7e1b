"""Commands that keep memories true and few."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from charm_checkpoint.cli.asking import confirm
from charm_checkpoint.cli.groups import Part
from charm_checkpoint.cli.memory.options import DryRun, Json, Project, ScopeName, Url, Yes, opened
from charm_checkpoint.cli.memory.output import print_json, print_memory, print_table
from charm_checkpoint.cli.terminal import echo, echo_error

if TYPE_CHECKING:
    from collections.abc import Sequence

    from charm_checkpoint.long_term.aging import Aged

Days = Annotated[
    float | None, typer.Option("--days", min=0, help="Instead of what is set: 60, then 180.", show_default=False)
]
_OUTCOMES = ("quarantined", "recovered", "failing", "broken", "unchecked")


def add_commands(app: typer.Typer) -> None:
    """Add these commands."""
    part = Part(app)
    for command in (revalidate, sweep, restore, purge):
        part.add(command)


def revalidate(
    title: Annotated[
        str | None, typer.Argument(metavar="TITLE", help="Default: all memories.", show_default=False)
    ] = None,
    scope: ScopeName = None,
    url: Url = None,
    project: Project = None,
    as_json: Json = False,
) -> int:
    """Check what memories cite, and quarantine what has changed.

    What holds again is taken back. Exit code 1 if any does not hold.
    """
    with opened(url, project) as memories:
        found = memories.revalidate(title, scope)
    if as_json:
        print_json([], revalidation=found.to_dict())
        return 0 if found.ok else 1
    for outcome in _OUTCOMES:
        for each in getattr(found, outcome):
            echo(f"{outcome}: {each.title} ({each.scope}){f' - {each.reason}' if each.reason else ''}")
    counts = ", ".join(f"{len(some)} {name}" for name, some in vars(found).items() if some)
    echo(counts or "no memories")
    return 0 if found.ok else 1


def sweep(
    days: Days = None,
    dry_run: DryRun = False,
    scope: ScopeName = None,
    url: Url = None,
    project: Project = None,
    as_json: Json = False,
) -> int:
    """Archive what nobody used, validated or changed for 60 days."""
    with opened(url, project) as memories:
        swept = memories.sweep(soft_days=days, scope=scope, dry_run=dry_run)
    if as_json:
        print_json([], sweep=swept.to_dict())
        return 0
    _print_aged(swept.archived, "used last")
    done = "would be archived" if dry_run else "archived"
    echo(f"{len(swept.archived)} {done}, {swept.kept} are active")
    for title, reason in (swept.broken or {}).items():
        echo_error(f"{title}: {reason}")
    return 1 if swept.broken else 0


def restore(
    title: Annotated[str, typer.Argument(metavar="TITLE", help="The title, exactly.")],
    scope: ScopeName = None,
    url: Url = None,
    project: Project = None,
    as_json: Json = False,
) -> int:
    """Have a memory that is archived or quarantined be active again."""
    with opened(url, project) as memories:
        entry = memories.restore(title, scope)
    if as_json:
        print_json([entry])
    else:
        print_memory(entry)
    return 0 if entry.status == "active" else 1


def purge(
    titles: Annotated[
        list[str] | None,
        typer.Argument(metavar="[TITLE]...", help="Archived memories; default: the candidates.", show_default=False),
    ] = None,
    days: Days = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    scope: ScopeName = None,
    url: Url = None,
    project: Project = None,
    as_json: Json = False,
) -> int:
    """Delete for good what is archived for 180 days; asks first."""
    with opened(url, project) as memories:
        wanted = titles or memories.purge_candidates(days, scope)
        asked = memories.purge(wanted, scope, dry_run=True)
        if not dry_run and asked.purged and not yes:
            _print_aged(asked.purged, "archived")
            confirm(f"Delete these {len(asked.purged)} for good?", yes)
        done = asked if dry_run else memories.purge(asked.purged, scope)
    if as_json:
        print_json([], purge=done.to_dict())
        return 0
    if dry_run:
        _print_aged(done.purged, "archived")
    echo(f"{len(done.purged)} {'would be deleted' if dry_run else 'deleted'}")
    for title in done.kept:
        echo(f"kept: {title}, which was used or changed meanwhile")
    return 0


def _print_aged(aged: Sequence[Aged], since: str) -> None:
    if aged:
        rows = [[each.title, each.kind, each.scope, f"{each.days:.0f} days ago"] for each in aged]
        print_table(["title", "kind", "scope", since], rows)

"""Commands that find memories and show them."""

from __future__ import annotations

from typing import Annotated

import typer

from charm_checkpoint.cli.groups import Part
from charm_checkpoint.cli.memory.options import Json, Project, ScopeName, Url, opened
from charm_checkpoint.cli.memory.output import print_json, print_memories, print_memory
from charm_checkpoint.cli.terminal import echo, echo_error
from charm_checkpoint.cli.typing_again import to_type
from charm_checkpoint.errors import ConfigError

Kinds = Annotated[list[str] | None, typer.Option("--kind", help="May be repeated.", show_default=False)]
Since = Annotated[str | None, typer.Option(help="Written at this date or later, as in 2026-03-01.", show_default=False)]
Until = Annotated[str | None, typer.Option(help="Written at this date or earlier.", show_default=False)]
Session = Annotated[str | None, typer.Option(help="Of this session alone.", show_default=False)]
Category = Annotated[str | None, typer.Option(help="Of this category alone.", show_default=False)]


def add_commands(app: typer.Typer) -> None:
    """Add these commands."""
    part = Part(app)
    part.add(recall)
    part.add(list_)
    part.add(show)


def recall(
    query: Annotated[str, typer.Argument(metavar="QUESTION", help="What to find; '*' for what changed last.")],
    limit: Annotated[int, typer.Option(min=0, help="How many at most.")] = 5,
    min_score: Annotated[
        float, typer.Option(min=0, max=1, help="0.5 is what 19 of 20 unrelated questions do not reach.")
    ] = 0.5,
    explain: Annotated[bool, typer.Option("--explain", help="Say what each score is made of.")] = False,
    unreviewed: Annotated[bool, typer.Option("--unreviewed", help="Also what needs a review.")] = False,
    kind: Kinds = None,
    since: Since = None,
    until: Until = None,
    session: Session = None,
    category: Category = None,
    scope: ScopeName = None,
    url: Url = None,
    project: Project = None,
    as_json: Json = False,
) -> int:
    """Find what says most about a question, the best first."""
    with opened(url, project) as memories:
        found = memories.recall(
            query, limit, kind, scope, session, since, until, min_score, explain,
            category=category, unreviewed=unreviewed,
        )  # fmt: skip
        waiting = 0 if found or unreviewed or as_json else len(memories.recall(
            query, limit, kind, scope, session, since, until, min_score,
            category=category, unreviewed=True, count_use=False,
        ))  # fmt: skip
    if as_json:
        print_json(found)
        return 0
    if not found:
        hint = f"{waiting} to review first: {to_type(url, 'memory review')}" if waiting else ""
        echo(f"nothing found ({hint or 'a lower --min-score finds more'})")
        return 0
    print_memories(found, scores=True)
    if explain:
        for entry in found:
            parts = ", ".join(f"{name} {value:.3f}" for name, value in (entry.parts or {}).items())
            echo(f"{entry.title}: {parts}")
    return 0


def list_(
    status: Annotated[str, typer.Option(help="active, quarantined, archived or all.", metavar="STATUS")] = "active",
    tag: Annotated[str | None, typer.Option(help="With this tag alone.", show_default=False)] = None,
    limit: Annotated[int | None, typer.Option(min=0, help="How many at most.", show_default=False)] = None,
    kind: Kinds = None,
    since: Since = None,
    until: Until = None,
    session: Session = None,
    category: Category = None,
    scope: ScopeName = None,
    url: Url = None,
    project: Project = None,
    as_json: Json = False,
) -> int:
    """List memories, those changed last first."""
    from charm_checkpoint.long_term.records import STATUSES

    if status not in (*STATUSES, "all"):
        raise ConfigError(f"--status {status}: there are {', '.join(STATUSES)}, all")
    with opened(url, project) as memories:
        every = None if status == "all" else status
        found = memories.list(scope, kind, every, tag, category, session, since, until, limit)
    if as_json:
        print_json(found)
    elif found:
        print_memories(found)
    else:
        echo("no memories")
    return 0


def show(
    title: Annotated[str, typer.Argument(metavar="TITLE", help="The title, exactly.")],
    scope: ScopeName = None,
    url: Url = None,
    project: Project = None,
    as_json: Json = False,
) -> int:
    """Show all of a memory, whatever its status."""
    with opened(url, project) as memories:
        entry = memories.read(title, scope, count_use=False)
    if entry is None:
        echo_error(f"there is no memory {title!r}; titles are exact: {to_type(url, 'memory list')} --status all")
        return 1
    if as_json:
        print_json([entry])
    else:
        print_memory(entry)
    return 0

"""Commands that write, delete and approve memories."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from charm_checkpoint.cli.asking import confirm
from charm_checkpoint.cli.groups import Part
from charm_checkpoint.cli.memory.options import Json, Project, ScopeName, Url, Yes, opened
from charm_checkpoint.cli.memory.output import print_json, print_memories, print_memory
from charm_checkpoint.cli.terminal import echo, echo_error
from charm_checkpoint.cli.typing_again import to_type
from charm_checkpoint.errors import ConfigError

Title = Annotated[str, typer.Argument(metavar="TITLE", help="The title, exactly.", show_default=False)]


def add_commands(app: typer.Typer) -> None:
    """Add these commands."""
    part = Part(app)
    for command in (remember, forget, undo, review, approve, promote):
        part.add(command)


def remember(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="fact, rule or lesson.", show_default=False)],
    title: Title,
    body: Annotated[str, typer.Argument(metavar="BODY", help="What to remember; - reads it from standard input.")],
    scope: Annotated[str, typer.Option("--scope", help="project, shared or global.")] = "project",
    tag: Annotated[list[str] | None, typer.Option("--tag", help="May be repeated.", show_default=False)] = None,
    cite: Annotated[
        list[str] | None,
        typer.Option(
            "--cite", metavar="PATH[:FROM-TO]", help="A file it rests on; may be repeated.", show_default=False
        ),
    ] = None,
    importance: Annotated[float | None, typer.Option(help="From 0 to 1.", show_default=False)] = None,
    category: Annotated[str | None, typer.Option(help="Such as core or daily.", show_default=False)] = None,
    session: Annotated[str | None, typer.Option(help="The session it belongs to.", show_default=False)] = None,
    create: Annotated[bool, typer.Option("--create", help="Make the store if there is none yet.")] = False,
    url: Url = None,
    project: Project = None,
    as_json: Json = False,
) -> int:
    """Write a memory down, in place of the one with this title."""
    text = sys.stdin.read() if body == "-" else body
    with opened(url, project, create=create) as memories:
        before = memories.read(title, scope, count_use=False)
        entry = memories.remember(
            kind, title, text, scope, tag, cite, importance=importance, category=category, session=session
        )
    if as_json:
        print_json([entry], replaced=before is not None)
        return 0
    done = "Replaced" if before else "Wrote"
    echo(f"{done} {entry.kind} memory: {entry.title} ({entry.scope})")
    if entry.needs_review:
        echo(f"It is held for review ({entry.reason}): {to_type(url, 'memory approve', entry.title)}")
    return 0


def forget(
    title: Title, scope: ScopeName = None, url: Url = None, project: Project = None, as_json: Json = False
) -> int:
    """Delete a memory; undo brings it back."""
    with opened(url, project) as memories:
        entry = memories.forget(title, scope)
    if entry is None:
        echo_error(f"there is no memory {title!r}{f' in {scope}' if scope else ''}; titles are exact")
        return 1
    if as_json:
        print_json([entry])
    else:
        echo(f"Forgot memory: {entry.title} ({entry.scope}); undo brings it back")
    return 0


def undo(
    title: Annotated[
        str | None, typer.Argument(metavar="TITLE", help="Default: what was forgotten last.", show_default=False)
    ] = None,
    scope: ScopeName = None,
    url: Url = None,
    project: Project = None,
    as_json: Json = False,
) -> int:
    """Bring back a memory that was forgotten."""
    with opened(url, project) as memories:
        entry = memories.undo(title, scope)
    if as_json:
        print_json([entry])
    else:
        echo(f"Remembered again: {entry.title} ({entry.scope})")
    return 0


def review(scope: ScopeName = None, url: Url = None, project: Project = None, as_json: Json = False) -> int:
    """Show what no model is shown before somebody approved it."""
    with opened(url, project) as memories:
        entries = memories.review(scope)
    if as_json:
        print_json(entries)
        return 0
    for entry in entries:
        print_memory(entry)
        echo("")
    echo(f"{len(entries)} to review" + ("; approve TITLE, or forget TITLE" if entries else ""))
    return 0


def approve(
    titles: Annotated[
        list[str] | None, typer.Argument(metavar="[TITLE]...", help="The titles, exactly.", show_default=False)
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="All that need a review; asks first.")] = False,
    digest: Annotated[
        str | None,
        typer.Option(help="Only if it still has this digest, which show prints.", show_default=False),
    ] = None,
    scope: ScopeName = None,
    yes: Yes = False,
    url: Url = None,
    project: Project = None,
    as_json: Json = False,
) -> int:
    """Approve memories as they are now: models are shown them."""
    if bool(titles) == every:
        raise ConfigError("name the titles to approve, or --all")
    if digest is not None and len(titles or ()) != 1:
        raise ConfigError("--digest is of one memory: name its title alone")
    with opened(url, project) as memories:
        if titles:
            done = [memories.approve(title, scope, digest=digest) for title in titles]
        else:
            waiting = memories.review(scope)
            print_memories(waiting)
            if waiting:
                confirm(f"Approve these {len(waiting)}?", yes, "nothing was approved")
            done = [memories.approve(entry.title, entry.scope, digest=entry.digest) for entry in waiting]
    if as_json:
        print_json(done)
    else:
        for entry in done:
            echo(f"Approved: {entry.title} ({entry.scope})")
    return 0


def promote(
    title: Title,
    to_scope: Annotated[str, typer.Argument(metavar="TO_SCOPE", help="project, shared or global.")],
    from_scope: Annotated[str | None, typer.Option("--from", help="Where it is now.", show_default=False)] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace one that is there.")] = False,
    url: Url = None,
    project: Project = None,
    as_json: Json = False,
) -> int:
    """Move a memory to another scope."""
    with opened(url, project) as memories:
        entry = memories.promote(title, to_scope, from_scope, overwrite=overwrite)
    if as_json:
        print_json([entry])
    else:
        echo(f"Moved: {entry.title} (to {entry.scope})")
    return 0

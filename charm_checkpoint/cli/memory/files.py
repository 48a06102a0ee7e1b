"""Commands that take memories out, and in."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from charm_checkpoint.cli.groups import Part
from charm_checkpoint.cli.memory.options import DryRun, Json, Project, ScopeName, Url, opened
from charm_checkpoint.cli.memory.output import print_json
from charm_checkpoint.cli.terminal import echo, echo_error
from charm_checkpoint.cli.typing_again import to_type

Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")]


def add_commands(app: typer.Typer) -> None:
    """Add these commands."""
    part = Part(app)
    part.add(export)
    part.add(import_)
    part.add(snapshot)
    part.add(hydrate)


def export(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What the bundle is called.")],
    path: Annotated[
        Path, typer.Argument(metavar="PATH", help="A .md file, or a folder, in which it is NAME/SKILL.md.")
    ],
    title: Annotated[
        list[str] | None, typer.Option("--title", help="Only this one; may be repeated.", show_default=False)
    ] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Into PATH, a file for each memory.")] = False,
    overwrite: Overwrite = False,
    scope: ScopeName = None,
    url: Url = None,
    project: Project = None,
    as_json: Json = False,
) -> int:
    """Write a bundle for others: a SKILL.md, without secrets.

    Paths of this machine are taken out, too.
    """
    with opened(url, project) as memories:
        if markdown:
            made = memories.export_markdown(path, scope, title, overwrite=overwrite)
        else:
            made = memories.export(name, path, scope, title, overwrite=overwrite)
    if as_json:
        print_json([], export=made.to_dict())
        return 0
    count = len(made.titles)
    echo(f"exported {count} {'memory' if count == 1 else 'memories'} to {made.path}")
    for finding in made.findings:
        echo(f"taken out: {finding}")
    for title_, reason in made.left_out:
        echo(f"left out: {title_}: {reason}")
    if made.findings:
        echo("look at it before you share it: what is no known form of a secret is still in it")
    return 0


def import_(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A SKILL.md, another .md, or a folder of them.")],
    scope: Annotated[str, typer.Option("--scope", help="project, shared or global.")] = "global",
    overwrite: Overwrite = False,
    rename: Annotated[bool, typer.Option("--rename", help="Give one whose title is taken another title.")] = False,
    bind: Annotated[
        bool, typer.Option("--bind", help="Put this project's folder where the bundle has a placeholder.")
    ] = False,
    dry_run: DryRun = False,
    url: Url = None,
    project: Project = None,
    as_json: Json = False,
) -> int:
    """Take over the memories of a bundle; each needs a review.

    No model is shown them before.
    """
    with opened(url, project, create=not dry_run) as memories:
        made = memories.import_(path, scope, overwrite=overwrite, rename=rename, bind=bind, dry_run=dry_run)
    if as_json:
        print_json([], **{"import": made.to_dict()})
        return 1 if made.failed else 0
    former = {new: old for old, new in made.renamed}
    for title in made.imported:
        was = f"{former[title]}, as " if title in former else ""
        echo(f"{'would import' if dry_run else 'imported'}: {was}{title}")
    for title in made.replaced:
        echo(f"{'would replace' if dry_run else 'replaced'}: {title}")
    for title, reason in made.skipped:
        echo(f"skipped: {title}: {reason}")
    for warning in made.warnings:
        echo_error(warning)
    for title, reason in made.failed:
        echo_error(f"{title}: {reason}")
    taken = len(made.imported) + len(made.replaced)
    if taken and not dry_run:
        echo(f"{taken} to review: {to_type(url, 'memory review')}")
    return 1 if made.failed else 0


def snapshot(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="The file; one for people, .md, comes beside it.")],
    url: Url = None,
    project: Project = None,
    as_json: Json = False,
) -> int:
    """Write all memories of all scopes into a file, lossless.

    It holds whatever secrets they hold.
    """
    with opened(url, project) as memories:
        made = memories.snapshot(path)
    if as_json:
        print_json([], snapshot=made.to_dict())
    else:
        echo(f"wrote {made.path}, and for people {made.markdown}: {_counts(made.memories)}")
    return 0


def hydrate(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="What snapshot wrote.")],
    overwrite: Overwrite = False,
    url: Url = None,
    project: Project = None,
    as_json: Json = False,
) -> int:
    """Put the memories of a snapshot back, into whatever store.

    What is there already stays.
    """
    with opened(url, project, create=True) as memories:
        made = memories.hydrate(path, overwrite=overwrite)
    if as_json:
        print_json([], hydrate=made.to_dict())
        return 0
    echo(f"put back: {_counts(made.put)}")
    if any(made.kept.values()):
        echo(f"there already, and kept: {_counts(made.kept)}")
    return 0


def _counts(memories: Mapping[str, int]) -> str:
    return ", ".join(f"{count} in {scope}" for scope, count in memories.items()) or "none"

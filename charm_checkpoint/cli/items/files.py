"""Commands that take items out, and in."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from charm_checkpoint.cli.groups import Part
from charm_checkpoint.cli.items.options import Below, labels, open_items
from charm_checkpoint.cli.options import Json, Url
from charm_checkpoint.cli.output import print_json
from charm_checkpoint.cli.terminal import echo
from charm_checkpoint.cli.values import plural
from charm_checkpoint.errors import ConfigError


def add_commands(part: Part) -> None:
    """Add these commands."""
    part.add(export, examples="charm-checkpoint items export users.jsonl users --url sqlite:///agent.db")
    part.add(import_, examples="charm-checkpoint items import users.jsonl --url sqlite:///agent.db")


def export(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="The file to write.", show_default=False)],
    namespace: Below = "",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a file that is there.")] = False,
    as_json: Json = False,
    url: Url = None,
) -> int:
    """Write items into a file, as JSON lines with a checksum."""
    if path.exists() and not overwrite:
        raise ConfigError(f"{path} is there already; --overwrite replaces it")
    with open_items(url) as store:
        count = store.export(path, labels(namespace))
    if as_json:
        print_json({"path": str(path), "items": count})
    else:
        echo(f"wrote {plural(count, 'item')} to {path}")
    return 0


def import_(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="What export wrote.", show_default=False)],
    keep: Annotated[bool, typer.Option("--keep", help="Leave items as they are that are there already.")] = False,
    as_json: Json = False,
    url: Url = None,
) -> int:
    """Put the items of a file that export wrote; a file that is cut off or damaged is refused."""
    if not path.exists():
        raise ConfigError(f"there is no file {path}")
    with open_items(url) as store:
        count = store.import_(path, overwrite=not keep)
    if as_json:
        print_json({"path": str(path), "items": count})
    else:
        echo(f"put {plural(count, 'item')} of {path}")
    return 0

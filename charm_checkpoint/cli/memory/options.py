"""The options that several commands have, and how the memories that they name are opened."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from charm_checkpoint.config.url import as_url, parse_url
from charm_checkpoint.errors import ConfigError

if TYPE_CHECKING:
    from charm_checkpoint.long_term.memories import LongTermMemory

Url: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--url", help="The store, such as sqlite:///agent.db.", envvar="CHARM_CHECKPOINT_URL", show_default=False
    ),
]
Project: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--project",
        help="The project: its folder, such as . (which can be cited, and has shared memories), or its name.",
        envvar="CHARM_CHECKPOINT_PROJECT",
        show_default=False,
    ),
]
Json: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON: an object with the key memories.")]
ScopeName: TypeAlias = Annotated[
    str | None, typer.Option("--scope", help="project, shared or global.", show_default=False)
]
Yes: TypeAlias = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
DryRun: TypeAlias = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")]

_MAKERS = "is it called so? A first memory makes a store, and so does: charm-checkpoint memory init"


@contextmanager
def opened(url: str | None, project: str | None, *, create: bool = False, **settings: Any) -> Iterator[LongTermMemory]:
    """Open the memories that a command line names; raises `ConfigError` for a store that is not there.

    ``create``: it may be new.
    """
    from charm_checkpoint import open_memory
    from charm_checkpoint.cli.commands import check_there

    if not url:
        raise ConfigError("name the store: --url sqlite:///agent.db, or set CHARM_CHECKPOINT_URL")
    if not create and not _is_shared(project):
        check_there(parse_url(as_url(url)), f": {_MAKERS}")
    with open_memory(url) as memory, memory.long_term(project, **settings) as memories:
        yield memories


def _is_shared(project: str | None) -> bool:
    """Tell whether a project has memories in its folder, as a new clone has: these are seen without a store."""
    from charm_checkpoint.long_term.markdown.places import shared_folder
    from charm_checkpoint.long_term.project import project_of

    root = None if project is None else project_of(project).root
    return root is not None and shared_folder(root).is_dir()

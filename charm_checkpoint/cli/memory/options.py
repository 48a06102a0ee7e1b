"""The options that several commands have, and how the memories that they name are opened."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from charm_checkpoint.cli.opening import NO_STORE, check_there, named
from charm_checkpoint.cli.options import DryRun, Project, Url, Yes
from charm_checkpoint.cli.typing_again import to_type
from charm_checkpoint.config.url import as_url, parse_url
from charm_checkpoint.errors import ConfigError, DataError

__all__ = ["DryRun", "Json", "Project", "ScopeName", "Url", "Yes", "opened"]

if TYPE_CHECKING:
    from charm_checkpoint.long_term.memories import LongTermMemory

Json: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON: an object with the key memories.")]
ScopeName: TypeAlias = Annotated[
    str | None, typer.Option("--scope", help="project, shared or global.", show_default=False)
]

_OPTIONS = ("kind", "since", "until", "importance", "scope", "session", "category")
_MAKERS = "is it called so? A new store is made by remember --create, and by: {}"


@contextmanager
def opened(url: str | None, project: str | None, *, create: bool = False, **settings: Any) -> Iterator[LongTermMemory]:
    """Open the memories that a command line names; raises `ConfigError` for a store that is not there.

    ``create``: it may be new.
    """
    from charm_checkpoint import open_memory

    if not url:
        raise ConfigError(NO_STORE)
    with named(url):
        if not create and not _is_shared(project):
            check_there(parse_url(as_url(url)), f": {_MAKERS.format(to_type(url, 'memory init'))}")
        memory = open_memory(url)
    with memory, memory.long_term(project, **settings) as memories, _of_options():
        yield memories


@contextmanager
def _of_options() -> Iterator[None]:
    """Raise `ConfigError` for what an option cannot be."""
    try:
        yield
    except DataError as error:
        if len(error.path) != 1 or error.path[0] not in _OPTIONS:
            raise
        raise ConfigError(str(error)) from error


def _is_shared(project: str | None) -> bool:
    """Tell whether a project has memories in its folder, as a new clone has: these are seen without a store."""
    from charm_checkpoint.long_term.markdown.places import shared_folder
    from charm_checkpoint.long_term.project import project_of

    root = None if project is None else project_of(project).root
    return root is not None and shared_folder(root).is_dir()

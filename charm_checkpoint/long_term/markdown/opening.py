"""Opening a folder of Markdown files as a scope."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from charm_checkpoint.errors import ConfigError
from charm_checkpoint.items.handed_out import HandedOut
from charm_checkpoint.items.store.charm_store import CharmStore
from charm_checkpoint.long_term.markdown import places
from charm_checkpoint.long_term.markdown.folder import MarkdownFolder
from charm_checkpoint.long_term.markdown.mapping import Rules
from charm_checkpoint.long_term.markdown.scope import MarkdownScope
from charm_checkpoint.long_term.project import Project
from charm_checkpoint.long_term.scope import Scope
from charm_checkpoint.opening import opened
from charm_checkpoint.store import Store

STATE = ".state"
"""Where the index of the user's own memories is, in their folder."""


def open_folder(
    name: str,
    folder: str | os.PathLike[str] | None,
    project: Project,
    index: Mapping[str, Any],
    *,
    reviews: bool = False,
) -> tuple[Scope, Store]:
    """Return the scope of a folder, of the usual one for None, and the store that is behind it, to be closed.

    The scope "shared" has its index out of the folder: see `charm_checkpoint.long_term.markdown.places.own_state`.
    """
    shares = name == "shared"
    path = _folder(name, folder, project)
    inside = project.root if shares and folder is None else None
    state = places.own_state(path) if shares else path / STATE
    kept = MarkdownFolder(path, state, private=not shares, inside=inside)
    store = opened({}, {"url": "file://" + _url_path(state / "index")}).store
    cites = name in ("project", "shared")
    rules = Rules(shares, reviews, project.root if cites else None)

    def items(of: Store) -> CharmStore:
        return HandedOut(of).items(index, None, "wait", {})

    def instead() -> CharmStore:
        return items(opened({}, {"url": "memory://"}).store)

    return MarkdownScope(name, items(store), (name,), kept, rules, cites=cites, instead=instead), store


def _folder(name: str, folder: str | os.PathLike[str] | None, project: Project) -> Path:
    if folder is not None:
        path = Path(folder).expanduser().absolute()
        if path.exists() and not path.is_dir():
            raise ConfigError(f"scopes: {name!r} is to be a folder, and {path} is a file")
        return path
    if name == "global":
        return places.global_folder()
    if name == "shared" and project.root is not None:
        return places.shared_folder(project.root)
    raise ConfigError(f"the scope {name!r} has no usual folder: name one, as in scopes={{{name!r}: '/abs/folder'}}")


def _url_path(path: Path) -> str:
    text = quote(path.as_posix())
    return text if text.startswith("/") else f"/{text}"

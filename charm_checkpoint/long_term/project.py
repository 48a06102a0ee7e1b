"""The project that memories belong to: its name, under which they are kept, and its folder, which they cite."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final, NamedTuple

from charm_checkpoint.errors import ConfigError

DEFAULT: Final = "default"
"""The name of the project where none is given."""


class Project(NamedTuple):
    """A project: ``name`` is what its memories are kept under, ``root`` its folder on this device, if it has one."""

    name: str
    root: Path | None = None


def project_of(given: str | os.PathLike[str] | Project | None) -> Project:
    """Return a project from its name, from its folder, or from both; raises `ConfigError` for what is neither.

    A text with a slash in it, ``.`` and a path object are a folder, whose name is the project's: so a checkout
    elsewhere has the same memories. Any other text is a name, of a project without a folder.
    """
    if given is None:
        return Project(DEFAULT)
    if isinstance(given, Project):
        return Project(_named(given.name), None if given.root is None else Path(given.root).expanduser().absolute())
    if isinstance(given, str) and not _is_folder(given):
        return Project(_named(given))
    if not isinstance(given, (str, os.PathLike)):
        raise ConfigError(f"project is a name, a folder or a Project(name, root), not {given!r}")
    root = Path(given).expanduser().resolve()
    if not root.is_dir():
        raise ConfigError(f"project: there is no folder {str(given)!r}; a name without a slash needs none")
    return Project(root.name or DEFAULT, root)


def is_below(path: str, root: str) -> bool:
    """Tell whether a real path is that of a folder, or of what is in it."""
    return path == root or os.path.normcase(path).startswith(os.path.join(os.path.normcase(root), ""))


def _is_folder(text: str) -> bool:
    return text in (".", "..", "~") or "/" in text or os.sep in text


def _named(name: Any) -> str:
    if not isinstance(name, str) or not name.strip():
        raise ConfigError(f"a project's name is a text that is not empty, not {name!r}")
    return name

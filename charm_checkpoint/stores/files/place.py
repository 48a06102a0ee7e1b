"""Which folder a URL names."""

from __future__ import annotations

import os
import re
from pathlib import Path

from charm_checkpoint.config.url import Location, is_sqlite_name
from charm_checkpoint.errors import ConfigError

_DRIVE = re.compile(r"/[A-Za-z]:(?:/|$)")


def folder_of(location: Location) -> Path:
    """Return the folder of a ``file`` URL, absolute; raises `ConfigError` for what names none."""
    folder = _folder_of(location)
    if folder.is_file() or (is_sqlite_name(folder.name) and not folder.is_dir()):
        raise ConfigError(
            f"a file URL names a folder of local files, and {folder} is none: for a SQLite file write "
            f"sqlite:///{folder.as_posix()}"
        )
    return folder


def _folder_of(location: Location) -> Path:
    host = ",".join(name for name, _ in location.hosts)
    if location.user is not None or location.port is not None or host not in ("", ".", "..", "localhost"):
        raise ConfigError(
            "a file URL has no host: write file:///abs/folder, or file://./folder from the current folder on; for a "
            "SQLite file write sqlite:///agent.db"
        )
    path = location.path
    if host in (".", ".."):
        return Path(os.path.abspath(host + path))
    if path in ("", "/"):
        return Path(os.environ.get("CHARM_WORKSPACE_DIR") or "workspace").absolute()
    return Path(path[1:] if _DRIVE.match(path) else path)

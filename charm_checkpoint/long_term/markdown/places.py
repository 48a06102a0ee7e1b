"""Where memories in Markdown are: those of a user, those that a project shares, and what only this user may note."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from charm_checkpoint.errors import ConfigError

OURS, CANTRIPS = "CHARM_MEMORY_DIR", "CANTRIP_MEMORY_DIR"
STATE = "CHARM_STATE_DIR"
SHARED = (".charm-shared", ".cantrip-shared")


def global_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the folder of the user's own memories; it need not exist.

    That is ``CHARM_MEMORY_DIR``, else ``CANTRIP_MEMORY_DIR``, else ``charm/memory`` in the user's configuration
    directory. Where that is not there but Cantrip's is, both programs share Cantrip's.
    """
    for name in (OURS, CANTRIPS):
        if environ.get(name):
            return _path(environ[name], name, environ)
    settings = settings_folder(environ)
    ours, theirs = settings / "charm" / "memory", settings / "cantrip" / "memory"
    return theirs if not ours.is_dir() and theirs.is_dir() else ours


def shared_folder(project: Path) -> Path:
    """Return the folder of the memories that a project has in git; it need not exist.

    That is ``.charm-shared/memory``, or ``.cantrip-shared/memory`` where only that is there.
    """
    ours, theirs = (project / name / "memory" for name in SHARED)
    return theirs if not ours.is_dir() and theirs.is_dir() else ours


def own_state(folder: Path, environ: Mapping[str, str] = os.environ) -> Path:
    """Return where this user notes what was approved, used and quarantined of the memories in a shared folder.

    It is none that comes with a clone: whoever may propose a memory must not be able to approve it. That is a folder in
    ``CHARM_STATE_DIR``, else in ``charm`` in the user's directory for states.
    """
    if environ.get(STATE):
        states = _path(environ[STATE], STATE, environ)
    elif sys.platform == "win32":
        states = _path(environ.get("LOCALAPPDATA") or "~/AppData/Local", "LOCALAPPDATA", environ) / "charm" / "state"
    else:
        states = _path(environ.get("XDG_STATE_HOME") or "~/.local/state", "XDG_STATE_HOME", environ) / "charm"
    place = os.path.realpath(folder)
    name = Path(place).parent.parent.name or "memory"
    return states / "memory" / f"{name[:40]}-{hashlib.sha256(os.fsencode(place)).hexdigest()[:16]}"


def settings_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the user's configuration directory."""
    if sys.platform == "win32":
        return _path(environ.get("APPDATA") or "~/AppData/Roaming", "APPDATA", environ)
    return _path(environ.get("XDG_CONFIG_HOME") or "~/.config", "XDG_CONFIG_HOME", environ)


def _path(text: str, name: str, environ: Mapping[str, str]) -> Path:
    """Return an absolute path for a setting; ``~`` in it is the user's home."""
    if text == "~" or text.startswith(("~/", "~\\")):
        home = environ.get("USERPROFILE" if sys.platform == "win32" else "HOME") or os.path.expanduser("~")
        text = home + text[1:]
    elif text.startswith("~"):
        text = os.path.expanduser(text)
    if text.startswith("~") or "\0" in text:
        raise ConfigError(f"{name} names a home directory that is not there: {text!r}; write the whole path")
    return Path(os.path.abspath(text))

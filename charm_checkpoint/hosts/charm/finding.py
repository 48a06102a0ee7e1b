"""Where charm.yaml is looked for, and whose counts.

A charm.yaml names the store, and so where all that the agent hears goes. What is beside the agent's own files is as
trusted as they are. What is above them may be anybody's, such as a file in /tmp: it counts only within the project or
the home directory, and only from those who could change the agent anyway.
"""

from __future__ import annotations

import logging
import os
import stat
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

log = logging.getLogger("charm_checkpoint")

FILE = "charm.yaml"

ROOT = 0
"""The user who can change everything."""


class Start(NamedTuple):
    """A folder to look in first; ``agent`` is the agent's file there, None for the folder of the process."""

    folder: Path
    agent: Path | None = None


def starts(caller: str | None) -> list[Start]:
    """Return the folders of the caller's module, of the program and of the process."""
    program = getattr(sys.modules.get("__main__"), "__file__", None)
    files = [Path(module).absolute() for module in (caller, program) if module]
    return [*(Start(file.parent, file) for file in files), Start(Path.cwd())]


def find(places: Sequence[Start]) -> Path | None:
    """Return the first charm.yaml in one of these folders, or above it, that counts; the log says which.

    Above a folder it is looked for as far as the project's root, which is the next folder with a .git or else with a
    pyproject.toml, and no further than the home directory. There it counts if nobody could have put it there but this
    process's user, root, or the owner of the agent's files. On Windows, where files have no such owner, only the way
    up is bounded.
    """
    trusted = {ROOT, *_ids(), *_owners(start.agent for start in places)}
    for start in places:
        for folder in _upwards(start.folder):
            file = folder / FILE
            if os.path.isfile(file) and _counts(file, start, trusted):
                log.info("%s is taken", file)
                return file
    return None


def _upwards(place: Path) -> Iterator[Path]:
    last = _last(place)
    for folder in (place, *place.parents):
        yield folder
        if folder == last:
            return


def _last(place: Path) -> Path | None:
    """Return the folder where the way up ends: the project's, or the home; None if that is the disk's root."""
    above = [place, *place.parents]
    try:
        home = Path.home()
    except RuntimeError:  # there is none
        home = place
    if home in above:
        above = above[: above.index(home) + 1]
    for marker in (".git", "pyproject.toml"):
        found = next((folder for folder in above if os.path.lexists(folder / marker)), None)
        if found is not None:
            return found
    return above[-1]


def _counts(file: Path, start: Start, trusted: set[int]) -> bool:
    """Tell whether a charm.yaml is to be obeyed, and tell the log if it is not."""
    if os.name != "posix" or (start.agent and file.parent == start.folder):
        return True
    folder, link, target = file.parent.stat(), file.lstat(), file.stat()
    if file.parent == start.folder:
        trusted = trusted | {folder.st_uid}  # who runs a program in a folder has chosen it, and not what others put in
    for what, found in (("", link), ("", target), ("its folder ", folder)):
        if found.st_uid not in trusted:
            log.warning("%s is left: %sbelongs to %s, not to you or the agent's owner", file, what, _name(found.st_uid))
            return False
    if target.st_mode & stat.S_IWOTH or folder.st_mode & (stat.S_IWOTH | stat.S_ISVTX) == stat.S_IWOTH:
        log.warning("%s is left: every user of this machine may change it", file)
        return False
    return True


def _ids() -> set[int]:
    return {os.getuid(), os.geteuid()} if os.name == "posix" else set()


def _owners(files: Iterator[Path | None]) -> set[int]:
    """Return who owns files, of those that are there: a module may be in an archive."""
    return {file.stat().st_uid for file in files if file is not None and file.exists()}


def _name(user: int) -> str:
    import pwd  # not on Windows, where nobody asks

    try:
        return f"{pwd.getpwuid(user).pw_name!r}"
    except KeyError:
        return f"the user {user}"

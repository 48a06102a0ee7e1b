"""Whom a server runs as where this process is root: nobody, who has no rights."""

from __future__ import annotations

import os
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from charm_checkpoint.errors import MissingServer, ServerFailed

NOBODY = "nobody"
"""The user without rights that every Unix has."""


@dataclass(frozen=True)
class Account:
    """A user to run a program as."""

    name: str
    user: int
    group: int

    def as_arguments(self) -> dict[str, Any]:
        """Return the arguments of `subprocess.run` that make a program run as this user."""
        return {"user": self.user, "group": self.group, "extra_groups": []}

    def may_enter(self, folder: Path) -> Path | None:
        """Return the outermost part of a path that this user cannot enter, None if it can go all the way."""
        for part in (*reversed(folder.parents), folder):
            if not self._allowed(part.stat(), stat.S_IXOTH):
                return part
        return None

    def may_run(self, program: Path) -> bool:
        """Whether this user can run a program, and read what lies beside it."""
        reads = self._allowed(program.stat(), stat.S_IXOTH | stat.S_IROTH)
        return reads and self.may_enter(program.parent) is None

    def own(self, folder: Path) -> None:
        """Give a folder, not what is in it, to this user."""
        os.chown(folder, self.user, self.group)

    def reach(self, program: Path, folder: Path) -> Path:
        """Return a program, or a copy of it in a folder of this user's if it cannot get at it, as below /root."""
        if self.may_run(program):
            return program
        copy = folder / program.name
        shutil.copyfile(program, copy)
        copy.chmod(0o755)
        return copy

    def reach_tree(self, tree: Path, folder: Path) -> Path:
        """Return a folder of files to read, or another of the same files in a folder of this user's."""
        if self.may_enter(tree) is None:
            return tree
        return Path(shutil.copytree(tree, folder / tree.name, symlinks=True, copy_function=_link))

    def _allowed(self, found: os.stat_result, bits: int) -> bool:
        shift = 6 if found.st_uid == self.user else 3 if found.st_gid == self.group else 0
        return found.st_mode >> shift & bits == bits


def _link(source: str, target: str) -> None:
    """Give a file, which is no secret, another name, or copy it to another disk."""
    os.chmod(source, os.stat(source).st_mode | 0o444)
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def unprivileged() -> Account | None:
    """Return the user to run a server as when this process is root, which no server needs; None when it is not."""
    if os.name != "posix" or os.geteuid() != 0:
        return None
    import pwd

    try:
        entry = pwd.getpwnam(NOBODY)
    except KeyError as error:
        raise MissingServer(
            f"this process is root, which no server is run as, and there is no user {NOBODY!r} to run it as; "
            "run as an ordinary user"
        ) from error
    return Account(NOBODY, entry.pw_uid, entry.pw_gid)


def require_way(account: Account | None, folder: Path) -> None:
    """Raise `ServerFailed` if the user a server runs as cannot get to its folder."""
    closed = account and account.may_enter(folder)
    if account and closed:
        raise ServerFailed(
            f"this process is root, so the server runs as {account.name}, who cannot enter {closed}: "
            f"let others enter it (chmod o+x {closed}), set TMPDIR to a folder open to all, or run as an ordinary user"
        )

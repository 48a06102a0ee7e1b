"""Paths of a project and of a person's home directory, in every way they are written."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePath, PureWindowsPath
from typing import TypeAlias
from urllib.parse import quote

from charm_checkpoint.long_term.sanitising.spans import Span

Roots: TypeAlias = "Mapping[str, PurePath | Sequence[PurePath]]"
"""What stands between ``<`` and ``>`` instead of a path, and the path, or several that are the same folder."""

PROJECT, HOME, USER = "CHARM_PATH", "HOME", "USER"

# A path begins where no other goes on into it, but for an option of a compiler or of docker, -I/home/ada.
_BEFORE = re.compile(r"(?:\A|[^\w.~]|(?:\A|[\s\"'=])-[A-Za-z]|\\[nrt])\Z")
_BEFORE_TILDE = re.compile(r"(?:\A|[^\w.~/\\])\Z")
# It ends where its last name does: /home/ada/app is not in /home/ada/app-k8s, /home/ada/app2, /home/ada/app.old.
_AFTER = r"(?![\w-]|\.\w|[+~@%](?:\w))"
_AT_HOMES = re.compile(
    r"""(?x)
    (?:(?<![\w.~])|(?<=[\s\"'=]-[A-Za-z])|(?<=\b[A-Za-z]:)|(?<=/mnt/[a-z])|(?<=/[a-z]))
    (?:/home/|/Users/|/var/home/|/export/home/|\\{1,4}Users\\{1,4})
    (?P<user>[^\s/\\:;,\"'`<>|*?$(){}\[\]]{1,64})(?=[/\\\s:;,\"'`<>)\]}.]|\Z)
    """
)
# Accounts of machines rather than of people, and what stands for one.
_NOBODYS = frozenset(
    "root ubuntu debian runner runneradmin vscode codespace ec2-user admin administrator user username users me you"
    " name youruser yourname public default shared app node docker vagrant jenkins git gitpod circleci travis coder"
    " linuxbrew centos fedora core cloud-user azureuser opc pi guest nobody nonroot www-data postgres redis example all"
    " everyone builder build ci dev developer test tester jovyan airflow".split()
)
_LEAST = 3


def known_roots(project: Path | None = None, home: Path | None = None) -> Roots:
    """Return what `sanitise` is to know of this machine: the project's folder, and the home directory.

    Links are followed, so each folder is known by the names it has with them and without.
    """
    roots: dict[str, Sequence[PurePath]] = {}
    if project is not None:
        roots[PROJECT] = _names_of(project)
    try:
        roots[HOME] = _names_of(home or Path.home())
    except RuntimeError:  # there is none, as for an account of a container
        pass
    return roots


def _names_of(path: Path) -> list[PurePath]:
    return [*dict.fromkeys((path.absolute(), path.resolve()))]


def paths(text: str, roots: Roots) -> Iterator[Span]:
    """Yield where paths of the roots stand, and names of people in paths; inner folders come before outer ones."""
    known = [(name, path) for name, given in roots.items() for path in _several(given) if _is_deep_enough(path)]
    homes = [path for name, path in known if name == HOME]
    for name, path in sorted(known, key=lambda pair: -len(str(pair[1]))):
        for pattern, before in _patterns(path, [] if name == HOME else homes):
            for match in pattern.finditer(text):
                if before.search(text, max(0, match.start() - 3), match.start()):
                    yield Span(match.start(), match.end(), "path", f"<{name}>")
    yield from _users(text, {path.name for path in homes})


def _several(given: PurePath | Sequence[PurePath]) -> Sequence[PurePath]:
    return [given] if isinstance(given, PurePath) else given


def _is_deep_enough(path: PurePath) -> bool:
    """Tell whether a path names a folder of its own: those of disks would be in every other."""
    return path.is_absolute() and len(path.parts) > 1 and len(str(path)) >= _LEAST


def _patterns(path: PurePath, homes: Sequence[PurePath]) -> Iterator[tuple[re.Pattern[str], re.Pattern[str]]]:
    """Yield what finds a path, and what must be right before it: looked for later, as a text that begins is fast."""
    windows = isinstance(path, PureWindowsPath) or re.match("[A-Za-z]:", str(path)) is not None
    flags = re.IGNORECASE if windows else 0
    for written in _ways(path):
        yield re.compile(_escaped(written) + _AFTER, flags), _BEFORE
    for home in homes:
        if home != path and home in path.parents:
            inner = path.relative_to(home)
            for begin in ("~", "$HOME", "${HOME}", "%USERPROFILE%", "$env:USERPROFILE"):
                for separator in ("/", "\\"):
                    written = begin + separator + separator.join(inner.parts)
                    yield re.compile(re.escape(written) + _AFTER, flags), _BEFORE_TILDE


def _escaped(written: str) -> str:
    """Return a pattern of a path, whose backslashes may be doubled, as they are in JSON, or doubled again."""
    return re.escape(written).replace(r"\\", r"\\{1,4}")


def _ways(path: PurePath) -> list[str]:
    plain = str(path)
    ways = [plain, path.as_posix(), quote(path.as_posix(), safe="/:")]
    drive = re.match(r"([A-Za-z]):[\\/](.*)", plain)
    if drive is not None:
        inner = drive[2].replace("\\", "/")
        ways += [f"{before}/{drive[1].lower()}/{inner}" for before in ("/mnt", "", "/cygdrive")]
    return [*dict.fromkeys(way.rstrip("/\\") for way in ways)]


def _users(text: str, own: set[str]) -> Iterator[Span]:
    for match in _AT_HOMES.finditer(text):
        user = match["user"].rstrip(".")
        if user and user.lower() not in _NOBODYS and not re.match(r"[<$%{~]", user):
            yield Span(match.start("user"), match.start("user") + len(user), "user name", f"<{USER}>")
    for name in own:
        if name and name.lower() not in _NOBODYS:
            # A part of a path, such as /media/ada/disk, /run/user/ada and ~ada.
            part = re.compile(rf"(?:(?<=[\w.-][/\\])|(?<=~))(?<!://){re.escape(name)}(?=[/\\])")
            for found in part.finditer(text):
                yield Span(found.start(), found.end(), "user name", f"<{USER}>")

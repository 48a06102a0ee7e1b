"""What a memory rests on: files of the project and lines in them, as callers name them, and whether they hold."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias

from charm_checkpoint.errors import DataError
from charm_checkpoint.long_term.file_hashes import NOTHING, FileHashes, Lines
from charm_checkpoint.long_term.project import Project, is_below
from charm_checkpoint.long_term.records import Citation

CitationLike: TypeAlias = "Citation | str | os.PathLike[str] | Mapping[str, Any]"
"""A citation, the path of a file, with lines as in ``"setup.py:3-9"`` or without, or a mapping as Cantrip writes it."""

HASHES: Final = FileHashes()
"""The hashes of files that this process has read."""

_RANGE: Final = re.compile(r"(?P<path>.+):(?P<first>\d+)(?P<more>-(?P<last>\d*))?", re.DOTALL)
_SHA: Final = re.compile(r"[0-9a-f]{64}")
_FIELDS: Final = ("path", "sha", "line_start", "line_end")


class Place(NamedTuple):
    """Where cited files are: below ``root``, whose paths are relative; or ``anywhere``, by their absolute paths.

    Without a root, citations that are relative are neither held nor refuted here.
    """

    root: Path | None = None
    anywhere: bool = False


class Check(NamedTuple):
    """Whether a citation holds; None: that cannot be told here. ``why`` says in a few words what is wrong."""

    citation: Citation
    holds: bool | None
    why: str = ""

    def __str__(self) -> str:
        return f"{shown(self.citation)} {self.why or 'holds'}"


# ------------------------------------------------------------------------------------------------ what callers give


def cite(
    project: Project, given: CitationLike | Iterable[CitationLike], *, anew: bool = False, anywhere: bool = False
) -> list[Citation]:
    """Return citations as they are kept: relative, each once, with the hash of what is there now unless one is given.

    ``anew`` is for those that were kept already: their hashes are made again, but of what is gone, or cannot be told
    here, they stay. ``anywhere`` is for memories of no project, whose citations are absolute.

    Raises `DataError` for what is no citation, is not there, or is outside of the project.
    """
    place = Place(None if anywhere else project.root, anywhere)
    some = listed(given)
    return _renewed(some, place) if anew else _cited(some, place)


def listed(given: Any) -> list[Any]:
    """Return one citation, or several, as a list; raises `DataError` for what is neither."""
    if isinstance(given, (str, os.PathLike, Mapping, Citation)):
        return [given]
    if isinstance(given, Iterable) and not isinstance(given, (bytes, bytearray)):
        return list(given)
    raise DataError(f"they are a list of paths or citations, not {type(given).__name__}", path=("citations",))


def _cited(given: Sequence[Any], place: Place) -> list[Citation]:
    files = Files(place)
    made: dict[Citation, None] = {}
    for number, each in enumerate(given):
        try:
            made[_one(each, files)] = None
        except DataError as error:
            raise error.at("citations", number) from error.__cause__
    return list(made)


def _one(given: Any, files: Files) -> Citation:
    citation = _read(given, files)
    citation = Citation(files.kept(citation.path), *_rest(citation))
    if citation.sha is not None:
        return citation
    check, sha = files.hashed(citation)
    if check.holds is False:
        raise DataError(f"{shown(citation)} {check.why}; give its sha too, to cite what is not there")
    if check.holds is None:
        root = "; give it one, as in long_term(project='.') or --project ." if files.homeless else ""
        raise DataError(f"{shown(citation)} {check.why}{root}")
    if sha == NOTHING and citation.line_start is not None:
        raise DataError(f"{citation.path} has no line {citation.line_start}")
    return Citation(citation.path, sha, citation.line_start, citation.line_end)


def _rest(citation: Citation) -> tuple[str | None, int | None, int | None]:
    return citation.sha, citation.line_start, citation.line_end


def _read(given: Any, files: Files) -> Citation:
    if isinstance(given, Citation):
        given = vars(given)
    if isinstance(given, Mapping):
        return _of_mapping(given)
    if not isinstance(given, (str, os.PathLike)):
        raise DataError(f"a citation is a path, as in 'src/charm.py:3-9', not {type(given).__name__}")
    path = _path(os.fspath(given))
    found = _RANGE.fullmatch(path)
    if found is None or files.is_there(path):  # a name may end as lines are named
        return Citation(path)
    first = _line(int(found["first"]), "line_start")
    last = int(found["last"]) if found["last"] else None if found["more"] else first
    return Citation(_path(found["path"]), None, first, _last(first, last))


def _of_mapping(given: Mapping[Any, Any]) -> Citation:
    unknown = [name for name in given if name not in _FIELDS]
    if unknown:
        raise DataError(f"a citation has {', '.join(_FIELDS)}, and no {unknown[0]!r}")
    first, last, sha = given.get("line_start"), given.get("line_end"), given.get("sha")
    first = None if first is None else _line(first, "line_start")
    if sha is not None and not (isinstance(sha, str) and _SHA.fullmatch(sha.lower())):
        raise DataError(f"it is 64 hex digits, not {sha!r}", path=("sha",))
    return Citation(_path(given.get("path")), None if sha is None else sha.lower(), first, _last(first, last))


def _path(given: Any) -> str:
    if not isinstance(given, str) or not given.strip() or "\0" in given:
        raise DataError(f"it is the path of a file, not {given!r}", path=("path",))
    return given


def _line(given: Any, name: str) -> int:
    if isinstance(given, bool) or not isinstance(given, int) or given < 1:
        raise DataError(f"lines count from 1, so it is not {given!r}", path=(name,))
    return given


def _last(first: int | None, last: Any) -> int | None:
    if last is not None and _line(last, "line_end") < (first or 1):
        raise DataError(f"it is line {first} or a later one, not {last}", path=("line_end",))
    return None if last is None else int(last)


def _renewed(citations: Sequence[Citation], place: Place) -> list[Citation]:
    files = Files(place)
    made = []
    for citation in citations:
        if _malformed(citation):
            continue
        check, sha = files.hashed(citation)
        gone = not check.holds or (sha == NOTHING and citation.line_start is not None)
        made.append(citation if gone else Citation(citation.path, sha, citation.line_start, citation.line_end))
    return made


# ------------------------------------------------------------------------------------------------- where files are


class _Unfit(Exception):
    """A path is not one that can be read; ``known`` False: not here, which says nothing of what it held."""

    def __init__(self, why: str, known: bool = True) -> None:
        super().__init__(why)
        self.known = known


class Files:
    """The files of a place, for one look at them: it remembers which folders are the project's own.

    What is cited may come from somebody else: no path and no link leads out of the project.
    """

    def __init__(self, place: Place, hashes: FileHashes = HASHES) -> None:
        self._place = place
        self._hashes = hashes
        self._root = None if place.root is None else os.path.realpath(place.root)
        self._is_here = self._root is not None and os.path.isdir(self._root)
        self._folders: dict[str, str] = {}
        self._seen: dict[str, dict[Lines, str]] = {}

    @property
    def homeless(self) -> bool:
        """Tell whether they are of a project of which no folder is known."""
        return self._place.root is None and not self._place.anywhere

    def is_there(self, path: str) -> bool:
        """Tell whether there is a file of this name, as callers write it."""
        if self._place.root is None and not (self._place.anywhere and os.path.isabs(path)):
            return False
        return os.path.isfile(os.path.join(self._place.root or "", path))

    def kept(self, path: str) -> str:
        """Return a path as it is kept: relative to the project, with ``/``; raises `DataError` for one outside."""
        if self._place.anywhere:
            if not os.path.isabs(path):
                raise DataError("a memory that is of no project cites files by absolute paths", path=("path",))
            return Path(os.path.normpath(path)).as_posix()
        root = self._place.root
        if root is None:
            if os.path.isabs(path) or ".." in Path(path).parts:
                raise DataError(f"{path!r}: the project has no folder here; give a path relative to it")
            return Path(path).as_posix()
        given = os.path.join(root, path)
        relative = self._relative(given)
        if relative is None or relative == ".":
            outside = "is the project's folder itself" if relative else f"is not in the project, which is {root}"
            raise DataError(f"{path!r} {outside}; cite files of the project", path=("path",))
        try:
            self._real(relative)
        except _Unfit as unfit:
            if not unfit.known or isinstance(unfit, _Outside):
                raise DataError(f"{path!r} {unfit}", path=("path",)) from None
        return relative

    def _relative(self, given: str) -> str | None:
        plain = os.path.normpath(given)
        if ".." in Path(given).parts and os.path.realpath(plain) != os.path.realpath(given):
            plain = os.path.realpath(given)  # it leads up from where a link leads
        parent, name = os.path.split(plain)
        for base, path in (
            (os.path.abspath(self._place.root or ""), plain),
            (self._root or "", plain),
            (self._root or "", os.path.join(os.path.realpath(parent), name)),
        ):
            if Path(path).is_relative_to(base):
                return Path(path).relative_to(base).as_posix()
        return None

    def _real(self, path: str) -> tuple[str, os.stat_result | None]:
        """Return where a path that is kept leads, and what the system says of that, if it was asked.

        Raises `_Unfit` if it is not the project's, or not known here.
        """
        if "\0" in path:
            raise _Unfit("is no path")
        absolute = os.path.isabs(path)
        if self._place.anywhere:
            if not absolute:
                raise _Unfit("is relative, and this memory is of no project", known=False)
            return path, None
        if self._root is None or not self._is_here:
            raise _Unfit("cannot be looked at: the project has no folder here", known=False)
        folder, _, name = path.rpartition("/")
        if absolute or os.sep != "/" or name in ("", ".", ".."):
            folder, name = os.path.split(os.path.normpath(os.path.join(self._root, path)))
        real = self._folders.get(folder)
        if real is None:
            real = os.path.realpath(os.path.normpath(os.path.join(self._root, folder)))
            self._folders[folder] = real = os.path.join(real, "")
        found = real + name
        try:
            said: os.stat_result | None = os.lstat(found)
        except OSError:
            said = None
        if said is not None and stat.S_ISLNK(said.st_mode):
            found, said = os.path.realpath(found), None
        if not is_below(found, self._root):
            raise _Outside("leads out of the project")
        return found, said

    def hashed(self, citation: Citation, wanted: Iterable[Lines] = ()) -> tuple[Check, str | None]:
        """Tell whether what is cited is there, and its hash now."""
        lines = (citation.line_start, citation.line_end)
        try:
            return Check(citation, True), self._shas(*self._real(citation.path), {lines, *wanted})[lines]
        except _Unfit as unfit:
            return Check(citation, False if unfit.known else None, str(unfit)), None
        except (FileNotFoundError, NotADirectoryError):
            return Check(citation, False, "is gone"), None
        except IsADirectoryError:
            return Check(citation, False, "is no file any more"), None
        except OSError as error:
            return Check(citation, False, f"cannot be read ({error.strerror or type(error).__name__})"), None

    def _shas(self, path: str, said: os.stat_result | None, wanted: set[Lines]) -> dict[Lines, str]:
        seen = self._seen.get(path)
        if seen is None or not wanted <= seen.keys():
            seen = self._seen[path] = self._hashes.of(path, wanted, said)
        return seen

    def check(self, citations: Sequence[Citation]) -> list[Check]:
        """Tell of citations whether they hold; a file whose several parts are cited is read once."""
        lines: dict[str, set[Lines]] = {}
        for citation in citations:
            if citation.sha is not None and not _malformed(citation):
                lines.setdefault(citation.path, set()).add((citation.line_start, citation.line_end))
        return [self._check(citation, lines) for citation in citations]

    def _check(self, citation: Citation, lines: Mapping[str, set[Lines]]) -> Check:
        if why := _malformed(citation):
            return Check(citation, False, why)
        if citation.sha is None:
            return self._exists(citation)
        check, sha = self.hashed(citation, lines[citation.path])
        if check.holds and sha != citation.sha.lower():
            return Check(citation, False, "was changed")
        return check

    def _exists(self, citation: Citation) -> Check:
        try:
            there = os.path.isfile(self._real(citation.path)[0])
        except _Unfit as unfit:
            return Check(citation, False if unfit.known else None, str(unfit))
        return Check(citation, there, "" if there else "is gone")


class _Outside(_Unfit):
    """A path leads out of the project."""


def _malformed(citation: Citation) -> str:
    """Tell what is wrong with a citation that somebody else wrote; nothing, if it can be looked at."""
    path: Any = citation.path
    if not isinstance(path, str) or not isinstance(citation.sha, (str, type(None))):
        return "is no citation"
    lines = (citation.line_start, citation.line_end)
    return "" if all(line is None or type(line) is int for line in lines) else "has no such lines"


def shown(citation: Citation) -> str:
    """Return a citation as callers write it, such as ``src/charm.py:3-9``; halves of characters are escaped."""
    first, last = citation.line_start, citation.line_end
    path = citation.path.encode("utf-8", "backslashreplace").decode()
    if first is None and last is None:
        return path
    return f"{path}:{first or 1}" + ("" if first == last else f"-{'' if last is None else last}")

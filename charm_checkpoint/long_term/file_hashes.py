r"""Hashes of files and of lines in them, read anew only if a file was changed.

What is hashed are bytes whose ends of lines are ``\n``: so a file has the same hash in every checkout, whatever its
system's ends of lines are, and a file that is no text has one, too. For text in UTF-8 it is Cantrip's hash, and for a
whole file without ``\r`` that of ``sha256sum``. Lines end as editors count them, at ``\n``, ``\r\n`` and ``\r``.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, BinaryIO, Final, NamedTuple

from charm_checkpoint.runtime.clock import wall_ns
from charm_checkpoint.runtime.regular_files import SAFELY

Lines = tuple[int | None, int | None]
"""The first line and the last one, which is included; None for the file's own."""

WHOLE: Final[Lines] = (None, None)
NOTHING: Final = hashlib.sha256().hexdigest()
"""The hash of lines that a file has not."""

RACY_NS: Final = 2_000_000_000
"""A file changed so short a time before it was read may be changed again without its times telling: those of FAT
count in steps of two seconds. Its hash is not relied on, as git does it."""

_CHUNK: Final = 1 << 20
_KEPT: Final = 100_000
_ATTEMPTS: Final = 3


def _without_waiting(path: str, flags: int) -> int:
    """Open what may have become a FIFO since it was looked at."""
    return os.open(path, flags | SAFELY & ~getattr(os, "O_NOFOLLOW", 0))


class Signature(NamedTuple):
    """What the file system says of a file without reading it; another file or another content has another one.

    ``changed`` is the time of the last change of anything, which programs cannot set, where the system has that.
    """

    size: int
    modified: int
    changed: int
    inode: int

    @classmethod
    def of(cls, found: os.stat_result) -> Signature:
        """Return it from what ``os.stat`` returned."""
        return cls(found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)

    def is_racy(self, read_at: int) -> bool:
        """Tell whether the file was changed too short a time before it was read."""
        return max(self.modified, self.changed) > read_at - RACY_NS


class Known(NamedTuple):
    """The hashes of a file, for as long as it has this signature."""

    signature: Signature
    shas: Mapping[Lines, str]


class FileHashes:
    """The hashes of files, by their absolute paths; for any thread.

    ``reads`` counts how often a file was read, ``loaded`` is from where hashes were taken over already.
    """

    def __init__(self) -> None:
        self._known: dict[str, Known] = {}
        self._changed: set[str] = set()
        self.loaded: set[object] = set()
        self.reads = 0

    def of(self, path: str, wanted: Collection[Lines], said: os.stat_result | None = None) -> dict[Lines, str]:
        """Return the hashes of a file and of lines in it; raises ``OSError`` if it cannot be read, or is no file.

        ``said`` is what the system says of it, if it was asked already.
        """
        known = self._known.get(path)
        signature = Signature.of(_regular(os.stat(path) if said is None else said, path))
        if known is not None and known.signature != signature:
            known = None
        shas = {} if known is None else {lines: known.shas[lines] for lines in wanted if lines in known.shas}
        missing = [lines for lines in wanted if lines not in shas]
        if missing:
            shas |= self._read(path, missing, known)
        return shas

    def _read(self, path: str, wanted: Collection[Lines], known: Known | None) -> dict[Lines, str]:
        for _ in range(_ATTEMPTS):
            at = wall_ns()
            with open(path, "rb", opener=_without_waiting) as file:
                before = Signature.of(_regular(os.fstat(file.fileno()), path))
                self.reads += 1
                shas = hashes(file, wanted)
                after = Signature.of(os.fstat(file.fileno()))
            if before == after:
                kept = known.shas if known is not None and known.signature == before else {}
                self._keep(path, Known(before, {**kept, **shas}), at)
                break
        return shas  # of a file that is being written all the time, what was read last

    def _keep(self, path: str, known: Known, read_at: int) -> None:
        if known.signature.is_racy(read_at):
            self._known.pop(path, None)
            return
        if len(self._known) >= _KEPT:
            self.forget()
        self._known[path] = known
        self._changed.add(path)

    def forget(self) -> None:
        """Forget all files: they are read anew."""
        self.loaded.clear()
        self._known.clear()
        self._changed.clear()

    # ------------------------------------------------------------------------------------------ kept in another place

    def changed(self, root: str) -> list[str]:
        """Return which files below a folder were read since this was asked last."""
        below = os.path.join(root, "")
        some = [path for path in list(self._changed) if path.startswith(below)]
        self._changed.difference_update(some)
        return some

    def dump(self, root: str, wanted: Callable[[str], bool] = bool) -> str:
        """Write down what is known of the files below a folder whose names are wanted."""
        below = os.path.join(root, "")
        rows = {
            name: [*known.signature, [[*lines, sha] for lines, sha in known.shas.items()]]
            for path, known in list(self._known.items())
            if path.startswith(below) and wanted(name := path[len(below) :])
        }
        return json.dumps(rows, separators=(",", ":"), sort_keys=True)

    def load(self, text: Any, root: str) -> None:
        """Take over what `dump` wrote of the files below a folder; what is known already is newer."""
        try:
            for name, (*signature, shas) in json.loads(text).items():
                size, modified, changed, inode = map(int, signature)
                known = {(_number(first), _number(last)): str(sha) for first, last, sha in shas}
                path = os.path.join(root, name)
                self._known.setdefault(path, Known(Signature(size, modified, changed, inode), known))
        except (ValueError, TypeError, AttributeError):
            return  # it is damaged, or of another version: then files are read


def hashes(file: BinaryIO, wanted: Collection[Lines]) -> dict[Lines, str]:
    """Return the hashes of a file that is open, and of lines in it; it is read once, a piece at a time."""
    digests = {lines: hashlib.sha256() for lines in wanted}
    whole = digests.get(WHOLE)
    parts = [(first or 1, last, digest) for (first, last), digest in digests.items() if (first, last) != WHOLE]
    number = 1
    for chunk in _normalised(file):
        if whole is not None:
            whole.update(chunk)
        if parts:
            for piece in chunk.splitlines(keepends=True):
                for first, last, digest in parts:
                    if first <= number and (last is None or number <= last):
                        digest.update(piece)
                number += piece.endswith(b"\n")
    return {lines: digest.hexdigest() for lines, digest in digests.items()}


def _normalised(file: BinaryIO) -> Iterator[bytes]:
    held = b""
    while chunk := file.read(_CHUNK):
        chunk = held + chunk
        held = b"\r" if chunk.endswith(b"\r") else b""  # what follows tells whether it ends a line by itself
        chunk = chunk[: len(chunk) - len(held)]
        yield chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n") if b"\r" in chunk else chunk
    if held:
        yield b"\n"


def _regular(found: os.stat_result, path: str) -> os.stat_result:
    if not stat.S_ISREG(found.st_mode):
        raise IsADirectoryError(f"{path} is no regular file")  # a pipe would be waited for, a device never ends
    return found


def _number(given: Any) -> int | None:
    return None if given is None else int(given)

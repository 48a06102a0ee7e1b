"""Names of files for titles: Cantrip's, where that is the title's own and safe on every system."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable

SUFFIX = ".md"
INDEX = "MEMORY.md"
MAX_BYTES = 120
"""How long a name may be, so that a folder may lie deep and its files still be copied to any system."""

_UNSAFE = re.compile(r"[^a-z0-9._-]+")
_WINDOWS = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?")
_OURS = ("memory", "skill")
"""What the index and a bundle are called where capital letters do not count."""


def slug(title: str) -> str:
    """Return the stem that Cantrip gives a title's file."""
    return _UNSAFE.sub("_", title.lower()).strip("._-") or "memory"


def is_own(title: str) -> bool:
    """Tell whether a title's slug says what it says, and is a name that any system takes."""
    stem = slug(title)
    return (
        title.isascii()
        and any(map(str.isalnum, title))
        and stem not in _OURS
        and not _WINDOWS.fullmatch(stem)
        and len(stem) + len(SUFFIX) <= MAX_BYTES
    )


def file_name(title: str, is_taken: Callable[[str], bool]) -> str:
    """Return the name of a title's file, in small letters.

    It is the slug, and part of the title's hash behind that where the slug is not the title's own or ``is_taken``:
    that is asked for names, and answers for others that differ by capital letters only as well.
    """
    stem = slug(title)
    if is_own(title) and not is_taken(stem + SUFFIX):
        return stem + SUFFIX
    digest = hashlib.sha256(title.encode("utf-8", "surrogatepass")).hexdigest()
    for digits in (8, 16, 64):
        room = MAX_BYTES - len(SUFFIX) - digits - 1
        # Windows takes "con.notes-1f2e3d4c.md" for its console as well: no dot, then.
        head = (stem.replace(".", "_") if _WINDOWS.fullmatch(stem) else stem)[:room].rstrip("._-")
        name = f"{head}-{digest[:digits]}{SUFFIX}"
        if not is_taken(name):
            break
    return name

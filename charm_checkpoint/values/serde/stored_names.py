"""Names of classes as they are stored: behind each stands in which shape the class was, so that a change is seen.

    module:Qualname  #8 hex  @version.CCCCffff…

``#`` tells classes of one name apart, where no module holds the one that is stored (`class_shapes`). Behind ``@``
stands first the version that the program gave the class, if it did, and a point; then four characters for the names
and annotations of all fields together, and two for each field by itself, in the order of the fields' names. They say
that a class has changed since, and which of its fields did. Characters are those of base64 for URLs.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64encode
from collections.abc import Collection, Mapping
from functools import lru_cache
from hashlib import blake2b
from typing import NamedTuple

_MARK = re.compile(r"#[0-9a-f]{8}\Z")
_SUFFIX = re.compile(r"@(?=.)(?:([1-9][0-9]{0,8})\.)?([A-Za-z0-9_-]{4}(?:[A-Za-z0-9_-]{2})*)?\Z")
_WHOLE, _FIELD = 4, 2
"""Characters for all fields together, and for one."""
MOST_FIELDS = 200
"""Fields of a class from which on it has no characters for each by itself."""


class StoredName(NamedTuple):
    """The parts of a stored name."""

    name: str
    """The class's, as ``module:qualname`` or as the program chose it."""
    mark: str
    """What tells it from others of its name, with the ``#``; empty if there is none."""
    suffix: str
    """What is said of its shape, with the ``@``; empty in what versions before 0.3 stored."""
    version: int | None
    """The version that the program gave the class, None if it gave none."""
    codes: tuple[str, ...]
    """What is said of each field by itself."""

    def changed(self, now: StoredName) -> Changed:
        """Return what is said of a class whose stored name is another now."""
        return Changed(self.version, self.codes, self._shape() != now._shape())

    def _shape(self) -> str:
        return self.suffix.rpartition(".")[2].lstrip("@")


@lru_cache(maxsize=4096)
def parts_of(stored: str) -> StoredName:
    """Take a stored name apart."""
    suffix, version, codes = "", None, ""
    if found := _SUFFIX.search(stored):
        suffix, stored = found[0], stored[: found.start()]
        version, codes = int(found[1]) if found[1] else None, (found[2] or "")[_WHOLE:]
    mark = _MARK.search(stored)
    name = stored[: mark.start()] if mark else stored
    each = tuple(codes[start : start + _FIELD] for start in range(0, len(codes), _FIELD))
    return StoredName(name, mark[0] if mark else "", suffix, version, each)


def split_mark(stored: str) -> tuple[str, str]:
    """Return the name and the mark, empty if there is none, of a stored name."""
    parts = parts_of(stored)
    return parts.name, parts.mark


def suffix_of(kind: int, annotations: Mapping[str, str] | None, version: int | None) -> str:
    """Return what stands behind the name of a class: the same in every process, whatever order its fields have.

    ``annotations`` are the texts of the annotations of those fields that are stored, None where there are none.
    """
    said = "" if version is None else f"{version}."
    if annotations is None:
        return said and f"@{said}"
    codes = codes_of(annotations)
    whole = _code(f"{kind} {sorted(annotations.items())!r}", _WHOLE)
    return f"@{said}{whole}{''.join(codes[name] for name in sorted(codes))}"


def codes_of(annotations: Mapping[str, str]) -> dict[str, str]:
    """Return the characters of each field by itself, none where there are too many."""
    if len(annotations) > MOST_FIELDS:
        return {}
    return {name: _code(f"{name} {text}", _FIELD) for name, text in annotations.items()}


def _code(text: str, length: int) -> str:
    return urlsafe_b64encode(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=6).digest())[:length].decode()


class Changed(NamedTuple):
    """That a class was of another shape, or version, when something was stored."""

    version: int | None
    """Its version then, None for none."""
    codes: tuple[str, ...]
    """What was said of each field then."""
    differs: bool = True
    """Whether its fields were others than now, or had other annotations."""

    def fields(self, stored: Collection[str], now: Mapping[str, str]) -> frozenset[str] | None:
        """Return the fields, of those of now, that are new or have another annotation; None where it cannot be told.

        ``stored`` are the names of the fields that the class had then, ``now`` the characters of each field now.
        """
        if not self.differs:
            return frozenset()
        names = sorted(stored)
        if len(names) != len(self.codes):
            return None
        then = dict(zip(names, self.codes, strict=True))
        changed = frozenset(name for name, code in now.items() if then.get(name) != code)
        # Two annotations with the same characters: what all fields have together said that they are not the same.
        return changed if changed or then.keys() != now.keys() else None

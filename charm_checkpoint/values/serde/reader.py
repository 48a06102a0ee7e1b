"""One decoding by the engine: which classes it may restore, and which class of a name is the one."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import ormsgpack

from charm_checkpoint.errors import TypeNotLoaded
from charm_checkpoint.values.serde.body_shapes import decode
from charm_checkpoint.values.serde.class_lookup import find_classes, refuse_to_guess
from charm_checkpoint.values.serde.class_shapes import split_mark
from charm_checkpoint.values.serde.classes import (
    KINDS,
    ClassLayout,
    is_held,
    is_safe,
    kind_of,
    layout_of,
    needs_vouching,
)
from charm_checkpoint.values.serde.known_classes import SHORT_NAMES
from charm_checkpoint.values.serde.values import RAW

_QUICK_DEPTH = 8  # objects inside objects; beyond it the walk takes over, which needs no C stack for each level


class Reader:
    """One decoding: knows which classes it may restore, and each one's layout."""

    __slots__ = ("_allowed", "_depth", "_found")

    def __init__(self, allowed: frozenset[str] | None) -> None:
        self._allowed = allowed
        self._depth = 0
        self._found: dict[str, list[tuple[Any, ClassLayout]]] = {}

    def unpack(self, data: bytes) -> Any:
        """Return the value of some bytes; raises ValueError where the walk has to take over."""
        return ormsgpack.unpackb(data, ext_hook=self._extension)

    def _extension(self, code: int, data: bytes) -> Any:
        if code in RAW:
            return decode(code, data, self)
        if self._depth >= _QUICK_DEPTH:
            raise ValueError
        self._depth += 1
        body = ormsgpack.unpackb(data, ext_hook=self._extension)
        self._depth -= 1
        return decode(code, body, self)

    def find(self, name: str, kind: int, fields: Collection[str] = ()) -> tuple[Any, ClassLayout]:
        """Return the class of a stored name and its layout, or raise TypeNotLoaded.

        ``fields`` are those stored: they decide between living classes of that name, none of which is surely the one.
        """
        found = self.find_all(name, kind)
        return found[0] if len(found) == 1 else _fitting(name, found, fields)

    def find_all(self, name: str, kind: int) -> list[tuple[Any, ClassLayout]]:
        """Return the class of a stored name, or all that may be the one, with their layouts; or raise TypeNotLoaded."""
        found = self._found.get(name) if type(name) is str else None
        if found is None:
            if type(name) is not str:
                raise TypeError("the name of a class is text")
            found = self._found[name] = self._lookup(name, kind)
        if kind not in (found[0][1].kind, found[0][1].was):
            stored, now = KINDS.get(kind, "data class"), KINDS[found[0][1].kind]
            bare = split_mark(name)[0]
            raise TypeNotLoaded(f"{bare} was stored as a {stored} and is now a {now}. Rename one of them.")
        return found

    def _lookup(self, name: str, kind: int) -> list[tuple[Any, ClassLayout]]:
        short = _short.get(name)
        if short is not None and layout_of(short[0]) is short[1]:
            return [short]
        if self._allowed is not None and not is_safe(name) and self._allowed.isdisjoint(spellings(name)):
            raise TypeNotLoaded(
                f"{split_mark(name)[0]} is not on the allowlist of this serializer, and not registered, which is what "
                'classes="registered" takes. Add it with with_allowlist, or call register_type(cls).'
            )
        classes = find_classes(name)
        found = [(cls, layout) for cls in classes if (layout := layout_of(cls)) is not None]
        if not found:
            if why := kind_of(classes[0]) is not None and needs_vouching(classes[0]):
                raise TypeNotLoaded(
                    f"{split_mark(name)[0]} {why}. It is not restored; if it may be, call register_type(cls)."
                )
            raise TypeNotLoaded(
                f"{split_mark(name)[0]} is not a data class (pydantic model, dataclass, enum, named tuple) and not "
                "registered. It is not restored; if it is a class of yours, call register_type(cls)."
            )
        if name in SHORT_NAMES:
            _short[name] = found[0]
        return [each for each in found if kind in (each[1].kind, each[1].was)] or found


_short: dict[str, tuple[Any, ClassLayout]] = {}
"""The classes of short names that were found, with the layouts they had: messages, most of them."""


def _fitting(name: str, found: Sequence[tuple[Any, ClassLayout]], fields: Collection[str]) -> tuple[Any, ClassLayout]:
    for cls, layout in found:
        if layout.names == frozenset(fields):
            return cls, layout
    return found[0] if is_held(found[0][0]) else refuse_to_guess(name)


def spellings(name: str) -> set[str]:
    """Return what an allowlist may call a stored class: ``module:Outer.Inner[arg]`` or ``module:Inner``."""
    whole = split_mark(name)[0]
    plain = whole.partition("[")[0]
    module, _, qualname = plain.partition(":")
    return {whole, plain, f"{module}:{qualname.rpartition('.')[2]}"}

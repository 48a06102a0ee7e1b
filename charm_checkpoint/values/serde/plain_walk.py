"""Reading for who looks: plain values in place of what this process cannot restore."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, TypeVar

from charm_checkpoint.errors import TypeNotLoaded
from charm_checkpoint.values.codes import RAW
from charm_checkpoint.values.serde.body_shapes import decode
from charm_checkpoint.values.serde.class_fields import ENUM, NAMEDTUPLE
from charm_checkpoint.values.serde.classes import KINDS
from charm_checkpoint.values.serde.models import Finder
from charm_checkpoint.values.serde.walk import ReadingWalk, parse

T = TypeVar("T")


class _Remembering:
    """Finds classes, and looks once for those that are not there: each time all classes there are are gone over."""

    strict = False
    tell = staticmethod(lambda finding: None)  # plain values are as they were stored

    def __init__(self, finder: Finder) -> None:
        self._finder = finder
        self._missing: dict[str, str] = {}

    def find(self, name: str, kind: int, fields: Collection[str] = ()) -> tuple[Any, Any]:
        return self._found(name, lambda: self._finder.find(name, kind, fields))

    def find_all(self, name: str, kind: int) -> list[tuple[Any, Any]]:
        return self._found(name, lambda: self._finder.find_all(name, kind))

    def keep(self, code: int, data: bytes, error: TypeNotLoaded, in_columns: bool = False) -> Any:
        return self._finder.keep(code, data, error, in_columns)

    def made_of(self, cls: Any, fields: dict[str, Any]) -> Any:
        return self._finder.made_of(cls, fields)

    def _found(self, name: str, find: Callable[[], T]) -> T:
        if name in self._missing:
            raise TypeNotLoaded(self._missing[name])
        if len(self._missing) >= MOST_MISSING:
            raise TypeNotLoaded(f"a class was not looked for, as {MOST_MISSING} others of this value are not loaded")
        try:
            return find()
        except TypeNotLoaded as error:
            self._missing[name] = error.reason
            raise TypeNotLoaded(error.reason) from error  # each time the same


MOST_MISSING = 64
"""Classes of one value that are looked for in vain where plain values do."""


class PlainWalk(ReadingWalk):
    """Decodes what it can, and gives plain values in place of what this process cannot restore."""

    def __init__(self, finder: Finder) -> None:
        super().__init__(_Remembering(finder))

    def held(self, code: int, data: bytes) -> Any:
        """Return what an object holds that is stored in this way, whether or not its class is here."""
        if code in RAW:
            return _without_class(code, data)
        tree = parse(data)
        return _without_class(code, list(map(self._walk, tree)) if type(tree) is list else self._walk(tree))

    def _decode(self, code: int, body: Any, finder: Finder) -> Any:
        try:
            return decode(code, body, finder)
        except TypeNotLoaded:
            return _without_class(code, body)

    def _look_for_class(self, code: int, body: Any) -> None:
        pass  # what it holds is wanted all the same


def _without_class(code: int, body: Any) -> Any:
    """Return what an instance holds: a member's value or name, an object's fields, a subclass's plain value."""
    if code == ENUM:
        return body[1] if body[1] is not None else body[2]
    if code == NAMEDTUPLE:
        return list(body[1].values())
    if code in KINDS:
        return body[1]
    return body.decode() if type(body) is bytes else body

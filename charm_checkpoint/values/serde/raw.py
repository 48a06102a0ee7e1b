"""Reading without classes: what cannot be revived, or is not to be, as the plain values that it holds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from charm_checkpoint.errors import TypeNotLoaded
from charm_checkpoint.values.serde.classes import ClassLayout
from charm_checkpoint.values.serde.forms import COLUMNS
from charm_checkpoint.values.serde.known_classes import SHORT_NAMES
from charm_checkpoint.values.serde.plain_walk import PlainWalk
from charm_checkpoint.values.serde.reader import Reader
from charm_checkpoint.values.serde.serializer import Serializer


class _OfTheTable(Reader):
    """Finds the classes of the fixed table, such as messages, and none of the program's, registered or not."""

    def find_all(self, name: str, kind: int) -> list[tuple[Any, ClassLayout]]:
        if name not in SHORT_NAMES:
            raise TypeNotLoaded("a plain value stands for it")
        return super().find_all(name, kind)


def plain_value(code: int, data: bytes) -> Any:
    """Return what a stored object holds, as plain values; only messages and the like inside it are revived."""
    return PlainWalk(_OfTheTable(frozenset())).held(code, data)


class PlainSerializer(Serializer):
    """A serializer that revives no class but safe ones, and gives the fields of what is of any other.

    It is for looking at what was stored, not for going on with it.
    """

    def __init__(self) -> None:
        super().__init__(allowed=())

    def loads(self, data: bytes) -> Any:
        """Return the value of `dumps`, with plain values instead of instances."""
        return self.loads_plain(data)

    def loads_parts(self, first: bytes, others: Sequence[bytes]) -> Any:
        """Return the value of `dumps`, of which several parts are given, as `loads` does."""
        return self.loads_plain(b"".join((first, *others)))

    def loads_many(self, data: bytes) -> list[Any]:
        """Return the values of `dumps_many`; of models that stand in columns, their fields."""
        held = self.loads_plain(b"\1" + data[1:])
        return list(held[2] if data[:1] == COLUMNS else held)

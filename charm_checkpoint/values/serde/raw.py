"""Reading without classes: what cannot be revived, or is not to be, as the plain values that it holds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from charm_checkpoint.values.serde.serializer import COLUMNS, Serializer


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

"""What is told of a store, as plain JSON: every report and every line of a listing has `as_dict`."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import fields
from datetime import datetime
from typing import Any


class Plain:
    """A dataclass that is plain JSON, too."""

    __slots__ = ()

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as plain JSON: times in ISO form and UTC, sizes in bytes, None for what nobody knows."""
        return {each.name: as_json(getattr(self, each.name)) for each in fields(self)}  # type: ignore[arg-type]


def as_json(value: Any) -> Any:
    """Return a field's value as plain JSON."""
    if isinstance(value, Plain):
        return value.as_dict()
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {str(key): as_json(held) for key, held in value.items()}
    if isinstance(value, (list, tuple, Set)):
        return [as_json(held) for held in value]
    return value

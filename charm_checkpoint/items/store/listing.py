"""Which namespaces a listing has; pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from langgraph.store.base import ListNamespacesOp, MatchCondition

from charm_checkpoint.items.addresses import check_labels, namespace_at
from charm_checkpoint.items.namespaces import path_of

_ANY = "*"

END: Final = 1 << 62
"""Where every listing has ended: what lies further is cut to it, as databases count in 64 bits."""


class NamespaceListing:
    """A `ListNamespacesOp`, checked. ``prefix`` is the path that all it lists begin with."""

    def __init__(self, op: ListNamespacesOp) -> None:
        self.conditions: Sequence[MatchCondition] = tuple(op.match_conditions or ())
        for condition in self.conditions:
            check_labels(condition.path)
            if condition.match_type not in ("prefix", "suffix"):
                raise ValueError(f"namespaces are matched by prefix or suffix, not by {condition.match_type!r}")
        if op.max_depth is not None:
            check_number("max_depth", op.max_depth)
        self.max_depth = op.max_depth
        self.slice = sliced(op.limit, op.offset)
        self.prefix = path_of(max((_fixed(each) for each in self.conditions), key=len, default=()))

    def of(self, paths: Iterable[bytes]) -> list[tuple[str, ...]]:
        """Return the listing of these namespaces' paths, which are sorted and each there once."""
        if not self.conditions and self.max_depth is None:
            return list(map(namespace_at, list(paths)[self.slice]))
        found = dict.fromkeys(
            namespace[: self.max_depth]
            for namespace in map(namespace_at, paths)
            if all(_matches(condition, namespace) for condition in self.conditions)
        )
        return list(found)[self.slice]


def _fixed(condition: MatchCondition) -> tuple[str, ...]:
    """Return the labels that namespaces must begin with."""
    path = tuple(condition.path)
    if condition.match_type != "prefix":
        return ()
    return path[: path.index(_ANY)] if _ANY in path else path


def _matches(condition: MatchCondition, namespace: tuple[str, ...]) -> bool:
    path = tuple(condition.path)
    if len(path) > len(namespace):
        return False
    part = namespace[: len(path)] if condition.match_type == "prefix" else namespace[len(namespace) - len(path) :]
    return all(wanted in (_ANY, label) for wanted, label in zip(path, part, strict=True))


def check_number(name: str, number: Any) -> None:
    """Raise ValueError for what is no number to count by."""
    if isinstance(number, bool) or not isinstance(number, int) or number < 0:
        raise ValueError(f"{name} is a whole number, 0 or more, not {number!r}")


def sliced(limit: Any, offset: Any) -> slice:
    """Return the slice of a listing that is asked for."""
    check_number("limit", limit)
    check_number("offset", offset)
    start = min(offset, END)
    return slice(start, start + min(limit, END - start))

"""What differs between two plain values, by path; pure. Lists are compared by content, not by position."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from typing import Any, NamedTuple

from charm_checkpoint.errors import PathPart, format_path
from charm_checkpoint.inspection.differences import Change

Path = tuple[PathPart, ...]

PAIRS = 2_000_000
"""Pairs of alike elements of two lists up to which these are aligned; else what is at the same place is compared."""


def key_of(plain: Any) -> str:
    """Return text that two plain values have alike if nothing differs: 1 is neither 1.0 nor True."""
    return json.dumps(plain, sort_keys=True)


class Run(NamedTuple):
    """Elements of the first list, and those of the second that stand in their place."""

    a: int
    a_end: int
    b: int
    b_end: int


def aligned(a: Sequence[Any], b: Sequence[Any]) -> Iterator[Run]:
    """Yield where two sequences of hashable things differ."""
    start = 0
    while start < min(len(a), len(b)) and a[start] == b[start]:
        start += 1
    end = 0
    while end < min(len(a), len(b)) - start and a[-1 - end] == b[-1 - end]:
        end += 1
    a_end, b_end = len(a) - end, len(b) - end
    if start == a_end or start == b_end or _pairs(a[start:a_end], b[start:b_end]) > PAIRS:
        if start < a_end or start < b_end:
            yield Run(start, a_end, start, b_end)
        return
    for tag, i, i_end, j, j_end in SequenceMatcher(None, a[start:a_end], b[start:b_end], autojunk=False).get_opcodes():
        if tag != "equal":
            yield Run(start + i, start + i_end, start + j, start + j_end)


def _pairs(a: Sequence[Any], b: Sequence[Any]) -> int:
    """Return how many pairs are alike, which is what aligning takes."""
    counts = Counter(b)
    return sum(counts[item] for item in a)


def differences(a: Any, b: Any, path: Path) -> Iterator[Change]:
    """Yield what differs between two plain values."""
    if type(a) is dict and type(b) is dict:
        for key in dict.fromkeys((*a, *b)):
            where = (*path, key)
            if key not in b:
                yield Change(format_path(where), "removed", old=a[key])
            elif key not in a:
                yield Change(format_path(where), "added", new=b[key])
            else:
                yield from differences(a[key], b[key], where)
    elif type(a) is list and type(b) is list:
        for run in aligned(list(map(key_of, a)), list(map(key_of, b))):
            yield from replaced(a[run.a : run.a_end], b[run.b : run.b_end], path, run.a, run.b)
    elif key_of(a) != key_of(b):
        yield Change(format_path(path), "changed", a, b)


def replaced(a: Sequence[Any], b: Sequence[Any], path: Path, at_a: int, at_b: int) -> Iterator[Change]:
    """Yield the changes of elements that stand for others; what is alike in kind is compared by itself.

    ``at_a`` and ``at_b`` are where they begin in their lists, below 0 if that is counted from the end.
    """
    alike = 0
    while alike < min(len(a), len(b)) and _is_alike(a[alike], b[alike]):
        yield from differences(a[alike], b[alike], (*path, at_a + alike))
        alike += 1
    if len(a) > alike:
        yield _several(path, at_a + alike, a[alike:], is_old=True)
    if len(b) > alike:
        yield _several(path, at_b + alike, b[alike:], is_old=False)


def _is_alike(a: Any, b: Any) -> bool:
    """Tell whether one element is another one changed: of dicts with ids, if they have the same, and one kind."""
    if type(a) is not type(b) or a is None:
        return False
    if type(a) is dict:
        return all(a.get(name) == b.get(name) for name in ("id", "type", "role"))
    return True


def _several(path: Path, at: int, values: Sequence[Any], *, is_old: bool) -> Change:
    where = format_path((*path, at)) if len(values) == 1 else format_path(path) + _range(at, len(values))
    value = values[0] if len(values) == 1 else list(values)
    return Change(where, "removed", old=value) if is_old else Change(where, "added", new=value)


def _range(at: int, count: int) -> str:
    end = at + count
    return f"[{at}:{'' if at < 0 and end == 0 else end}]"

"""Values that another thread changes while they are looked at."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from charm_checkpoint.errors import NotSerializable

T = TypeVar("T")

ATTEMPTS = 20
"""How often a look starts again because another thread changed something under it."""


def is_change(error: BaseException) -> bool:
    """Say whether an error is Python's own for a container that changed: a dict, a set, a deque, an OrderedDict."""
    return isinstance(error, RuntimeError) and "during iteration" in str(error)


def says_nothing_of_it(error: BaseException) -> bool:
    """Say whether an error is none of the value's that was looked at: a change, or too little room for the look."""
    return isinstance(error, (RecursionError, MemoryError)) or is_change(error)


def refusal(value: Any, error: Exception) -> NotSerializable:
    """Return the refusal of a value whose class's own code failed; raises an error that says nothing of it again."""
    if says_nothing_of_it(error):
        raise error
    why = str(error).rstrip(".") or type(error).__name__
    return NotSerializable(f"this {type(value).__qualname__} is broken or not initialised: {why}.")


def settled(look: Callable[[Any], T], value: Any) -> T:
    """Return what a look at a value gives, once nothing changes under it."""
    for _ in range(ATTEMPTS):
        try:
            return look(value)
        except RuntimeError as exc:
            if not is_change(exc):
                raise
    raise NotSerializable(
        f"this {type(value).__qualname__} kept changing while it was saved, {ATTEMPTS} times in a row. "
        "Change a copy of it, and return that."
    )

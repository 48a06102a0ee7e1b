"""How much is encoded or decoded on an event loop at once; where there is more, a thread does it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeVar

from charm_checkpoint.plan import Compute, Plan

T = TypeVar("T")

ALLOWANCE = 5_000
"""Things (elements, fields, stretches of `THING` bytes) that are encoded at once: in some 5 ms."""
THING = 200
"""Bytes that take about as long as one, to encode, hash and compress."""
BYTES = 1 << 18
"""Encoded bytes that are decoded at once, in about the same time."""


class TooMuch(Exception):
    """There is more to encode than was allowed."""


def encoding(work: Callable[[int | None], T]) -> Plan[T]:
    """Do work within an allowance; if it raises `TooMuch`, do it again where no event loop waits for it."""
    try:
        return work(ALLOWANCE)
    except TooMuch:
        pass
    result: T = yield Compute(partial(work, None))
    return result


def decoding(work: Callable[[], T], size: int) -> Plan[T]:
    """Do work on so many bytes, if these are many where no event loop waits for it."""
    if size <= BYTES:
        return work()
    result: T = yield Compute(work)
    return result

"""Names of classes that all classes of this process were searched for in vain: that takes long, and comes in numbers.

A class that is gone is named by every object that was stored of it, and somebody hostile may name very many.
"""

from __future__ import annotations

from time import monotonic

SHARE = 20
"""How many times as long as a search took, a name is not searched for again."""
WINDOW, MOST = 10.0, 5.0
"""Of so many seconds, searches in vain take so many at most; then, what no module holds is not found for a while."""
REMEMBERED = 4096
"""Names that are remembered."""

_searched: dict[str, tuple[float, float]] = {}
"""When a search for a name ended, and how long it took; in this order."""


def may_search(name: str, made: bool = False) -> bool:
    """Say whether all classes may be searched for a name; ``made``: of a class that no module held.

    Such a class may be made anew at any moment: that it was not there just now says little.
    """
    now = monotonic()
    ended, took = _searched.get(name, (0.0, 0.0))
    if not made and now - ended < SHARE * took:
        return False
    lately = [took for ended, took in list(_searched.values()) if now - ended < WINDOW]
    return sum(lately) <= MOST


def searched(name: str, began: float) -> None:
    """Remember that a search for a name, which began then, found nothing."""
    now = monotonic()
    _searched.pop(name, None)
    _searched[name] = (now, now - began)
    while len(_searched) > REMEMBERED:
        _searched.pop(next(iter(_searched)), None)

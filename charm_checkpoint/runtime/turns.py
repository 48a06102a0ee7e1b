"""Whose turn it is to do what is done once in a while over all programs: what is noted of it, and what follows; pure.

What is noted is one small document, which programs change by compare-and-set: who is at it (``holder``) and was alive
at ``renewed``; whether what ``began`` is ``unfinished``; when the last run ``ended``, and which of its steps failed. So
no program waits for another, and whoever comes after one that has died goes on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

RETRY: Final = 900_000_000
"""Microseconds after which a run is repeated of which something failed."""


class Terms(NamedTuple):
    """How often it is done, and after how long a holder that is not heard of is taken to have died; in microseconds."""

    interval: int
    lifetime: int


def due_at(state: Mapping[str, Any] | None, terms: Terms) -> int | None:
    """Return when the next run is due, None for at once."""
    if state is None or state.get("ended") is None:
        return None
    return int(state["ended"]) + (min(RETRY, terms.interval) if state["failures"] else terms.interval)


def is_due(state: Mapping[str, Any] | None, terms: Terms, now: int) -> bool:
    """Tell whether the interval is over. A run that ended in a far future was by a clock that has been set since."""
    due = due_at(state, terms)
    return due is None or not due - 2 * terms.interval < now < due


def is_held(state: Mapping[str, Any] | None, terms: Terms, now: int) -> bool:
    """Tell whether a program is at it that is alive: it has renewed its lease not long ago, by a clock like ours."""
    return bool(state and state.get("holder")) and abs(now - (state or {}).get("renewed", 0)) < terms.lifetime


def taken(
    state: Mapping[str, Any] | None, me: str, terms: Terms, now: int, *, at_once: bool = False
) -> dict[str, Any] | None:
    """Return what is noted when ``me`` takes the turn; None if it is another's, or nothing is due."""
    if is_held(state, terms, now):
        return None
    held = dict(state or {})
    unfinished = bool(held.get("unfinished"))
    if not (at_once or unfinished or is_due(state, terms, now)):
        return None
    goes_on = unfinished and abs(now - held.get("began", 0)) < terms.interval
    fresh = {"began": now, "done": [], "counts": {}, "failures": {}, "unfinished": True}
    return {**held, **({} if goes_on else fresh), "holder": me, "renewed": now}


def renewed(state: Mapping[str, Any] | None, me: str, now: int, **changed: Any) -> dict[str, Any] | None:
    """Return what is noted when ``me`` goes on, or ends; None if the turn has become another's."""
    if state is None or state.get("holder") != me:
        return None
    return {**state, **changed, "renewed": now}

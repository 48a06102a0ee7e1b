"""Keeping memories tidy by itself: once in a while over all programs, by a lease, a step at a time."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from types import MappingProxyType
from typing import Any, Final, NamedTuple, Protocol, TypeAlias

from charm_checkpoint.errors import CharmError, StoreClosed
from charm_checkpoint.items import clock
from charm_checkpoint.items.flow import Flow
from charm_checkpoint.items.results import time_of
from charm_checkpoint.long_term.ages import Ages
from charm_checkpoint.long_term.aging import Purge, Sweep
from charm_checkpoint.long_term.citations import Place
from charm_checkpoint.long_term.hygiene_settings import Hygiene
from charm_checkpoint.long_term.revalidation import Revalidator
from charm_checkpoint.long_term.scope import Scope
from charm_checkpoint.long_term.steps import call
from charm_checkpoint.runtime.turns import due_at, is_held, renewed, taken

log = logging.getLogger("charm_checkpoint")

KEY: Final = "run"


@dataclass(frozen=True)
class HygieneStatus:
    """How the hygiene of a scope stands.

    ``running`` tells whether a program is at it; ``counts`` what its last run did, and ``failures`` which of its steps
    failed, and why; ``ended`` is when the last run was done, ``due`` when the next one is.
    """

    scope: str
    running: bool = False
    began: datetime | None = None
    ended: datetime | None = None
    due: datetime | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    failures: Mapping[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON."""
        made = {**vars(self), "counts": dict(self.counts), "failures": dict(self.failures)}
        return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in made.items()}


class Stepwise(Protocol):
    """Work that is done a step at a time."""

    def step(self) -> Flow[bool]:
        """Do the next step; tell whether there is more."""
        ...

    def counts(self) -> Mapping[str, int]:
        """Return how many memories something was done to."""
        ...


# ------------------------------------------------------------------------------------------------------- what is done


class _Expiring:
    """Removes what has expired, such as what is kept of forgotten memories."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._count = 0

    def step(self) -> Flow[bool]:
        self._count = yield call(self._scope.store, "sweep_ttl")
        return False

    def counts(self) -> Mapping[str, int]:
        return {"expired": self._count}


class _Revalidating:
    def __init__(self, revalidator: Revalidator) -> None:
        self._revalidator = revalidator
        self.step = revalidator.step

    def counts(self) -> Mapping[str, int]:
        return {name: self._revalidator.report.count(name) for name in ("quarantined", "recovered", "broken")}


class _Sweeping:
    def __init__(self, sweep: Sweep) -> None:
        self._sweep = sweep
        self.step = sweep.step

    def counts(self) -> Mapping[str, int]:
        return {"archived": len(self._sweep.archived), "broken": len(self._sweep.broken)}


class _Purging:
    def __init__(self, purge: Purge) -> None:
        self._purge = purge
        self.step = purge.step

    def counts(self) -> Mapping[str, int]:
        return {"purged": len(self._purge.found), "broken": len(self._purge.broken)}


class _Doing:
    """Does something else, in one step."""

    def __init__(self, make: Callable[[], Flow[Any]]) -> None:
        self._make = make

    def step(self) -> Flow[bool]:
        yield from self._make()
        return False

    def counts(self) -> Mapping[str, int]:
        return {}


Extra: TypeAlias = Mapping[str, Callable[[], Flow[Any]]]
"""What else is done, by name, after the rest."""


def _work(
    scope: Scope, place: Place, hygiene: Hygiene, ages: Ages, extra: Extra
) -> Iterator[tuple[str, Callable[[], Stepwise]]]:
    """Yield what is to be done of a scope, in order, by name."""
    size = hygiene.step
    yield "expire", lambda: _Expiring(scope)
    if hygiene.revalidate:
        yield "revalidate", lambda: _Revalidating(Revalidator(scope, place, size=size))
    yield "sweep", lambda: _Sweeping(Sweep(scope, ages, clock.now(), size=size))
    if hygiene.purge and scope.name != "shared":  # which others use, of whom nothing is known here
        yield "purge", lambda: _Purging(Purge(scope, ages, clock.now(), size=size, wanted=hygiene.purges))
    for name, make in extra.items():
        yield name, partial(_Doing, make)


# ----------------------------------------------------------------------------------------------------------- the lease


class _Lost(Exception):
    """Another program has taken the lease, as this one did not renew it in time."""


class Lease:
    """The right to keep a scope tidy, of one program at a time: an item that it renews with every step.

    In it is what was done, so that whoever goes on after one has died does not begin anew.
    """

    def __init__(self, scope: Scope, hygiene: Hygiene) -> None:
        self._scope = scope
        self._hygiene = hygiene
        self._me = uuid.uuid4().hex
        self.state: dict[str, Any] = {}

    def take(self, at_once: bool) -> Flow[bool]:
        """Take it if the interval is over, or ``at_once``, and no one has it; tell whether it was taken."""
        held: list[dict[str, Any] | None] = [None]

        def change(state: dict[str, Any] | None) -> dict[str, Any] | None:
            held[0] = taken(state, self._me, self._hygiene.terms, clock.now(), at_once=at_once)
            return held[0]

        yield from self._update(change)
        self.state = held[0] or {}
        return held[0] is not None

    def note(self, **changed: Any) -> Flow[None]:
        """Renew it, and note what was done; raises `_Lost`."""
        held: list[dict[str, Any] | None] = [None]

        def change(state: dict[str, Any] | None) -> dict[str, Any] | None:
            held[0] = renewed(state, self._me, clock.now(), **changed)
            return held[0]

        yield from self._update(change)
        if held[0] is None:
            raise _Lost
        self.state |= changed

    def _update(self, change: Callable[[dict[str, Any] | None], dict[str, Any] | None]) -> Flow[Any]:
        return (yield call(self._scope.store, "update", self._scope.side("hygiene"), KEY, change))


class Kept(NamedTuple):
    """What came of keeping a scope tidy; ``ran`` False: it was not due, or another program is at it."""

    ran: bool
    state: Mapping[str, Any] | None


def keep(
    scope: Scope,
    place: Place,
    hygiene: Hygiene,
    ages: Ages,
    *,
    at_once: bool = False,
    stopping: Callable[[], bool] = bool,
    extra: Extra = MappingProxyType({}),
) -> Flow[Kept]:
    """Keep a scope tidy, if it is due and no one is at it.

    A step that fails is told, and those after it are done all the same. ``stopping`` is asked between steps: then the
    lease is given back, and another program goes on.
    """
    lease = Lease(scope, hygiene)
    if not (yield from lease.take(at_once)):
        return Kept(False, (yield from state_of(scope)))
    try:
        for name, make in _work(scope, place, hygiene, ages, extra):
            if name in lease.state["done"]:
                continue
            try:
                whole = yield from _do(lease, make(), stopping)
            except StoreClosed:
                raise
            except (CharmError, OSError) as error:
                log.warning("Hygiene of the memories in %s: %s failed, the rest goes on: %s", scope.name, name, error)
                whole = True
                yield from lease.note(failures={**lease.state["failures"], name: str(error)})
            if not whole:
                yield from lease.note(holder=None)
                return Kept(True, lease.state)
            yield from lease.note(done=[*lease.state["done"], name])
        yield from lease.note(holder=None, unfinished=False, ended=clock.now())
    except _Lost:
        log.info("Hygiene of the memories in %s: another program has taken over.", scope.name)
    return Kept(True, lease.state)


def _do(lease: Lease, work: Stepwise, stopping: Callable[[], bool]) -> Flow[bool]:
    """Do work a step at a time; tell whether all of it was done."""
    before = dict(lease.state["counts"])
    more = True
    while more:
        if stopping():
            return False
        more = yield from work.step()
        counts = {name: before.get(name, 0) + count for name, count in work.counts().items()}
        yield from lease.note(counts={**before, **counts})
    return True


def state_of(scope: Scope) -> Flow[Mapping[str, Any] | None]:
    """Return what is noted of a scope's hygiene."""
    item = yield call(scope.store, "get", scope.side("hygiene"), KEY)
    return None if item is None else item.value


def status_of(scope: str, state: Mapping[str, Any] | None, hygiene: Hygiene) -> HygieneStatus:
    """Return how it stands, from what is noted."""
    if state is None:
        return HygieneStatus(scope)
    ended, due = state.get("ended"), due_at(state, hygiene.terms)
    return HygieneStatus(
        scope,
        is_held(state, hygiene.terms, clock.now()),
        time_of(state["began"]),
        None if ended is None else time_of(ended),
        None if due is None else time_of(due),
        state["counts"],
        state["failures"],
    )

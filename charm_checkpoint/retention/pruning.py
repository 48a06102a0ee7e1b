"""Pruning one thread by a policy: what goes is chosen between transactions, and goes in transactions that are bounded.

Others may write to the thread meanwhile. What they add only has older ones go, so what was chosen still goes; but if
one of them follows what was to go, it is chosen anew.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import NamedTuple

from charm_checkpoint.checking.session import Session, Step
from charm_checkpoint.config.retention import Retention
from charm_checkpoint.contract import Backend, Query, Usage
from charm_checkpoint.plan import Compute, Plan
from charm_checkpoint.retention.outlines import Outlines
from charm_checkpoint.retention.reports import Amount
from charm_checkpoint.saver.choosing import Choice, Key, Rules, choose
from charm_checkpoint.values.limits import DEFAULTS, Limits
from charm_checkpoint.values.serde import Serializer

AT_ONCE = 500
"""Checkpoints that are removed in one transaction."""
LOOK = 32
"""Checkpoints that may have come since the choice, and are looked at in the transaction that removes."""
ATTEMPTS = 10
"""How often a removal is tried in its transaction because the thread changes under it."""
CHOICES = 3
"""How often it is chosen anew."""
MANY = 2_000
"""Checkpoints from which on an event loop does not wait for the choice."""


class Tools(NamedTuple):
    """What pruning is done with."""

    backend: Backend
    serde: Serializer
    limits: Limits = DEFAULTS


class Pruned(NamedTuple):
    """What came of pruning a thread; ``busy``: it changed all the while, and some or all of it is still to go."""

    planned: Amount = Amount()
    done: Amount = Amount()
    busy: bool = False


def prune(tools: Tools, thread: str, policy: Retention, now: float, measured: bool = True) -> Session[Pruned]:
    """Remove what a policy does not keep of a thread; ``measured``: count the chunks and bytes that go, too."""
    went, left, before = 0, 0, None
    for _ in range(CHOICES):
        outlines = outlines_of(tools, thread, policy)
        doomed = yield from chosen(outlines, thread, policy, now)
        if doomed and measured and before is None:
            before = yield Step(partial(tools.backend.usage, thread), thread)
        left = yield from _removed(tools.backend, thread, doomed, outlines.newest)
        went += len(doomed) - left
        if not left:
            break
    done = Amount(int(went > 0), went, *(yield from _freed(tools.backend, thread, before, measured)))
    return Pruned(done if not left else done + Amount(int(not went), left), done, left > 0)


def _freed(
    backend: Backend, thread: str, before: Usage | None, measured: bool
) -> Session[tuple[int | None, int | None]]:
    if not measured:
        return None, None
    if before is None:
        return 0, 0
    after = yield Step(partial(backend.usage, thread), thread)
    return max(0, before.chunks - after.chunks), max(0, before.payload_bytes - after.payload_bytes)


def outlines_of(tools: Tools, thread: str, policy: Retention) -> Outlines:
    """Return what a thread's checkpoints are read into for a policy."""
    return Outlines(
        tools.backend, tools.serde, thread, last=policy.last, times=policy.age is not None, limits=tools.limits
    )


def chosen(outlines: Outlines, thread: str, policy: Retention, now: float) -> Session[list[Key]]:
    """Read a thread, and return what goes of it, the oldest first."""
    after = None
    while (after := (yield Step(partial(outlines.read, after), thread))) is not None:
        pass
    since = None if policy.age is None else now - policy.age
    rules = Rules(policy.last, since, policy.keep_branches)
    choice: Choice = yield from _choice(outlines, rules, thread)
    waiting: list[Key] = []
    if policy.keep_interrupted and choice.tips:
        for ns, id in choice.tips:
            if (yield Step(partial(outlines.waits, ns, id), thread)):
                waiting.append((ns, id))
        choice = yield from _choice(outlines, rules, thread, waiting)
    doomed = yield from _without_history(outlines, thread, choice, partial(_choice, outlines, rules, thread, waiting))
    return sorted(doomed, key=lambda key: outlines.found[key].seq)


def _without_history(
    outlines: Outlines, thread: str, choice: Choice, again: Callable[[Collection[Key]], Session[Choice]]
) -> Session[set[Key]]:
    """Return what goes when what is kept can be rebuilt, and so can the tasks of what is kept for that."""
    history: set[Key] = set()
    seen: set[Key] = set()
    while choice.doomed:
        needed: set[Key] = set()
        for key in outlines.history(choice.kept - history - seen):
            needed |= yield Step(partial(outlines.needed, key), thread)
        seen |= choice.kept
        if not needed & choice.doomed:
            break
        history |= needed
        choice = yield from again(history)
    return choice.doomed


def _choice(
    outlines: Outlines, rules: Rules, thread: str, waiting: Collection[Key] = (), history: Collection[Key] = ()
) -> Session[Choice]:
    choosing = partial(choose, list(outlines.found.values()), rules, waiting, history)
    if len(outlines.found) < MANY:
        return choosing()
    choice: Choice = yield Step(partial(_computed, choosing), thread)
    return choice


def _computed(choosing: partial[Choice]) -> Plan[Choice]:
    choice: Choice = yield Compute(choosing)
    return choice


def _removed(backend: Backend, thread: str, doomed: Sequence[Key], newest: int) -> Session[int]:
    """Remove checkpoints; return how many are left, since the thread is another one now."""
    for start in range(0, len(doomed), AT_ONCE):
        part = doomed[start : start + AT_ONCE]
        if not (yield Step(partial(_removal, backend, thread, part, newest), thread, write=True)):
            return len(doomed) - start
    return 0


def _removal(backend: Backend, thread: str, part: Sequence[Key], newest: int) -> Plan[bool]:
    """Remove checkpoints if none that came since the choice follows one of them; tell whether they are gone."""
    doomed = set(part)
    for _ in range(ATTEMPTS):
        page = yield from backend.page(Query(thread), None, LOOK, writes=False)
        rows = [item.row for item in page.items if item.row is not None]
        if not rows:
            return True
        fresh = [row for row in rows if row.seq > newest]
        if len(fresh) == LOOK or any((row.ns, row.parent) in doomed for row in fresh):
            return False
        reply = yield from backend.remove(thread, part, page.items[0].state.seq)
        if reply.outcome == "stored":
            return True
    return False

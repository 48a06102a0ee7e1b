"""Pruning one thread by a policy: what goes is chosen between transactions, and goes in transactions that are bounded.

Others may write to the thread meanwhile. What they add only has older ones go, so what was chosen still goes; but if
one of them follows what was to go, or others remove something, too, it is chosen anew.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence, Set
from functools import partial
from typing import NamedTuple

from charm_checkpoint.config.retention import Retention
from charm_checkpoint.contract import Backend, Usage, WriteResult, added, capabilities
from charm_checkpoint.plan import Compute, Plan
from charm_checkpoint.retention.outlines import Candidates
from charm_checkpoint.retention.reports import Amount
from charm_checkpoint.saver.choosing import Choice, Key, Rules, choose
from charm_checkpoint.saver.removals import MANY, removed
from charm_checkpoint.session import Session, Step
from charm_checkpoint.values.limits import DEFAULTS, Limits
from charm_checkpoint.values.serde import Serializer

CHOICES = 3
"""How often it is chosen anew."""


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
    """Remove what a policy does not keep of a thread; ``measured``: tell the chunks and bytes that go, too."""
    counts = capabilities(tools.backend).counts_removed
    planned: set[Key] = set()
    went, before, is_done = Usage(), None, False
    for _ in range(CHOICES):
        outlines = outlines_of(tools, thread, policy)
        doomed = yield from chosen(outlines, thread, policy, now)
        planned = (planned - outlines.found.keys()) | set(doomed)
        if doomed and measured and not counts and before is None:
            before = yield Step(partial(tools.backend.usage, thread), thread)
        is_done, more = yield from _removed(tools.backend, thread, doomed, outlines)
        went = added(went, more)
        if is_done:
            break
    left = 0 if is_done else len(planned & (yield from _stored(tools, thread, policy)))
    gone = len(planned) - left
    if gone and not (is_done and doomed):
        # A removal that was stopped leaves the chunks of what went.
        swept: WriteResult = yield Step(partial(tools.backend.remove, thread, (), None), thread, write=True)
        went = added(went, swept.removed or Usage())
    if measured and not counts:
        went = yield from _freed(tools.backend, thread, before)
    freed = (went.chunks, went.payload_bytes) if measured else (None, None)
    done = Amount(int(gone > 0), gone, *freed)
    return Pruned(done if is_done else done + Amount(int(not gone), left), done, not is_done)


def _stored(tools: Tools, thread: str, policy: Retention) -> Session[Set[Key]]:
    """Return which checkpoints are stored."""
    outlines = outlines_of(tools, thread, policy)
    yield from _read(outlines, thread)
    return outlines.found.keys()


def _freed(backend: Backend, thread: str, before: Usage | None) -> Session[Usage]:
    """Return what went of a thread since it was counted, if it was."""
    if before is None:
        return Usage()
    after: Usage = yield Step(partial(backend.usage, thread), thread)
    chunks, size = before.chunks - after.chunks, before.payload_bytes - after.payload_bytes
    return Usage(chunks=max(0, chunks), payload_bytes=max(0, size))


def outlines_of(tools: Tools, thread: str, policy: Retention) -> Candidates:
    """Return what a thread's checkpoints are read into for a policy."""
    return Candidates(
        tools.backend, tools.serde, thread, last=policy.last, times=policy.age is not None, limits=tools.limits
    )


def chosen(outlines: Candidates, thread: str, policy: Retention, now: float) -> Session[list[Key]]:
    """Read a thread, and return what goes of it, the oldest first."""
    yield from _read(outlines, thread)
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


def _read(outlines: Candidates, thread: str) -> Session[None]:
    after = None
    while (after := (yield Step(partial(outlines.read, after), thread))) is not None:
        pass


def _without_history(
    outlines: Candidates, thread: str, choice: Choice, again: Callable[[Collection[Key]], Session[Choice]]
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
    outlines: Candidates, rules: Rules, thread: str, waiting: Collection[Key] = (), history: Collection[Key] = ()
) -> Session[Choice]:
    choosing = partial(choose, list(outlines.found.values()), rules, waiting, history)
    if len(outlines.found) < MANY:
        return choosing()
    choice: Choice = yield Step(partial(_computed, choosing), thread)
    return choice


def _computed(choosing: partial[Choice]) -> Plan[Choice]:
    choice: Choice = yield Compute(choosing)
    return choice


def _removed(backend: Backend, thread: str, doomed: Sequence[Key], outlines: Candidates) -> Session[tuple[bool, Usage]]:
    """Remove checkpoints; tell whether they are gone, and what the store counts of it.

    Some or all are not gone if the thread is another one now.
    """
    if not doomed:
        return True, Usage()
    removal = partial(removed, backend, thread, doomed, outlines.newest, outlines.state)
    went: tuple[bool, Usage] = yield Step(removal, thread, write=True)
    return went

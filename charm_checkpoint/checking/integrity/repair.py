"""What of the findings can be mended without loss."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from charm_checkpoint.checking.integrity.own import relink, relinks
from charm_checkpoint.checking.integrity.report import IntegrityFinding
from charm_checkpoint.checking.integrity.threads import ThreadLook
from charm_checkpoint.checking.integrity.tools import Tools
from charm_checkpoint.contract import NewMessages, ThreadState
from charm_checkpoint.errors import StoreCorrupt
from charm_checkpoint.session import Session, Step


def mend(
    tools: Tools, look: ThreadLook, state: ThreadState, found: list[IntegrityFinding]
) -> Session[list[IntegrityFinding]]:
    """Mend a thread's head, and remove chunks that nothing reaches; return the findings, some of them repaired.

    Both are what removing no checkpoint does, but where a store mends its heads in a way of its own. A thread in which
    anything is damaged that others may be reached by is left alone: what seems to be reached by nothing may be reached
    by that.
    """
    if not any(each.repairable and not each.repaired for each in found) or is_unsure(look):
        return found
    if any(each.kind == "head" for each in found) and relinks(tools.store):
        yield from relink(tools.store, look.thread)
        return (yield from _confirmed(tools, look.thread, found))  # chunks stay: a checkpoint may be lost that had them
    if any(each.kind in ("parent", "counter") and each.is_problem for each in found):
        return found  # what a lost checkpoint had is still there, should its row be put back
    done = yield from _removed_nothing(tools, look, state)
    if any(each.kind == "chunk" and each.repairable for each in found) and look.messages.is_there:
        done = (yield from _put_again(tools, look)) and done
    if not done:
        return found
    return (yield from _confirmed(tools, look.thread, found))


def is_unsure(look: ThreadLook) -> bool:
    """Tell whether something may be there, or be reached, that was not seen."""
    messages = look.messages.reached.bad or look.messages.findings
    return bool(look.is_cut or look.is_misplaced or look.reached.bad or look.broken or messages)


def _removed_nothing(tools: Tools, look: ThreadLook, state: ThreadState) -> Session[bool]:
    try:
        reply = yield Step(partial(tools.backend.remove, look.thread, (), state.seq), look.thread, write=True)
    except StoreCorrupt:
        return False
    return bool(reply.outcome == "stored")


def _put_again(tools: Tools, look: ThreadLook) -> Session[bool]:
    """Put the message list as it is in its own place, with a sweep; batches behind it stay."""
    row = look.messages.row
    if row is None or row.body is None:
        return True
    new = NewMessages(look.thread, row.body, row.roots, (), row.state.sweeps, row.revision, sweep=True, taken=0)
    reply = yield Step(partial(tools.backend.put_messages, new), look.thread, write=True)
    return bool(reply.outcome == "stored")


def _confirmed(tools: Tools, thread: str, found: list[IntegrityFinding]) -> Session[list[IntegrityFinding]]:
    """Return the findings as they are after the repair: what a new look does not find any more was repaired."""
    again = ThreadLook(tools, thread)
    yield from again.look()
    try:
        usage = yield Step(partial(tools.backend.usage, thread), thread)
    except StoreCorrupt:
        return found
    again.compare(usage)
    left = {(each.kind, each.namespace) for each in again.findings}
    reached = len(again.reached.named) + len(again.messages.reached.named)
    if usage.chunks > reached:
        left.add(("chunk", ""))
    return [
        replace(each, repaired=True) if each.repairable and (each.kind, each.namespace) not in left else each
        for each in found
    ]

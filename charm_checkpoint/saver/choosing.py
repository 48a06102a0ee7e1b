"""What goes of a thread under a policy; pure: it sees what is noted of each checkpoint, and no value."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple, TypeAlias

Key: TypeAlias = tuple[str, str]
"""A namespace and a checkpoint's id."""

STARTS = 2
"""How many of those that follow one checkpoint make it a branch's start, and stay for that."""


class Candidate(NamedTuple):
    """What a choice goes by, of one checkpoint.

    ``created`` is when it was made, in seconds since 1970 by its writer's clock, None if that is not known or was not
    asked for. ``root`` is the root graph's checkpoint under which a task of a subgraph ran, as far as it is known.
    ``size`` is the bytes of its body.
    """

    ns: str
    id: str
    parent: str | None
    seq: int
    size: int = 0
    created: float | None = None
    root: str | None = None

    @property
    def key(self) -> Key:
        """Return what it is known by."""
        return self.ns, self.id


class Rules(NamedTuple):
    """What stays: the ``last`` of each namespace, what was created at ``since`` or later, and where branches begin.

    ``strict``: a task's checkpoints go unless a checkpoint of the root graph that stays is theirs, be that stored or
    not.
    """

    last: int
    since: float | None = None
    branches: bool = True
    strict: bool = False


class Choice(NamedTuple):
    """What goes and what stays. ``tips`` are of what goes: ends of branches of the root graph, which may wait."""

    doomed: set[Key]
    kept: set[Key]
    tips: list[Key]


def is_task(ns: str) -> bool:
    """Tell whether a namespace belongs to one task: LangGraph then puts its id after a colon."""
    return ":" in ns


def choose(
    outlines: Iterable[Candidate], rules: Rules, waiting: Collection[Key] = (), history: Collection[Key] = ()
) -> Choice:
    """Return what goes of a thread; ``waiting`` stays whatever the rules say.

    So does ``history``, which others that stay are rebuilt from: what is of its tasks stays with it as with any other.
    """
    by_key = {one.key: one for one in outlines}
    spaces = _by_namespace(by_key.values())
    children = _children(by_key)
    kept = {key for key in waiting if key in by_key}
    for line in spaces.values():
        kept.update(one.key for one in line[: rules.last])
        if rules.since is not None:
            kept.update(one.key for one in line if one.created is None or one.created >= rules.since)
    if rules.branches:
        kept |= _starts(children)
    kept -= _of_gone_tasks(spaces, kept, rules.strict, history)
    kept |= set(history) & set(by_key)
    doomed = set(by_key) - kept
    tips = [key for key in doomed if not is_task(key[0]) and not children.get(key)]
    return Choice(doomed, kept, tips)


def _by_namespace(outlines: Iterable[Candidate]) -> dict[str, list[Candidate]]:
    """Return the checkpoints of each namespace, last committed first."""
    spaces: dict[str, list[Candidate]] = {}
    for one in outlines:
        spaces.setdefault(one.ns, []).append(one)
    for line in spaces.values():
        line.sort(key=lambda one: -one.seq)
    return spaces


def _children(by_key: Mapping[Key, Candidate]) -> dict[Key, list[Candidate]]:
    children: dict[Key, list[Candidate]] = {}
    for one in by_key.values():
        if one.parent is not None and (one.ns, one.parent) in by_key and one.parent != one.id:
            children.setdefault((one.ns, one.parent), []).append(one)
    return children


def _starts(children: Mapping[Key, Sequence[Candidate]]) -> set[Key]:
    """Return where branches begin, with the last that follow: so it is seen next time, too, that they begin there."""
    starts: set[Key] = set()
    for key, following in children.items():
        if len(following) >= STARTS:
            starts.add(key)
            starts.update(one.key for one in sorted(following, key=lambda one: -one.seq)[:STARTS])
    return starts


def _of_gone_tasks(
    spaces: Mapping[str, Sequence[Candidate]], kept: Collection[Key], strict: bool, history: Collection[Key]
) -> set[Key]:
    """Return all checkpoints of tasks whose root checkpoint goes, or went."""
    roots = spaces.get("", [])
    if not roots:
        return set()
    stored = {one.id for one in roots}
    staying = {one.id for one in roots if one.key in kept}
    oldest = min(one.seq for one in roots if one.id in staying)
    staying |= {one.id for one in roots if one.key in history}
    gone: set[Key] = set()
    for ns, line in spaces.items():
        root = line[0].root
        if not is_task(ns) or root is None or root in staying:
            continue
        # One that is not stored may be about to come: a task's checkpoint is put first where a run saves as it goes.
        if root in stored or strict or line[0].seq < oldest:
            gone.update(one.key for one in line)
    return gone

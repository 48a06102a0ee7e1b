"""What a sweep, an erasure and a compaction tell."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from charm_checkpoint.contract import Space
from charm_checkpoint.plain import Plain


@dataclass(frozen=True, slots=True)
class Amount(Plain):
    """How much goes, or went: of so many threads, so many checkpoints and chunks, and bytes of payload in all.

    ``chunks`` and ``bytes`` are None where nobody counted them. Where others write meanwhile, they are about right.
    """

    threads: int = 0
    checkpoints: int = 0
    chunks: int | None = 0
    bytes: int | None = 0

    def __add__(self, other: Amount) -> Amount:
        return Amount(
            self.threads + other.threads,
            self.checkpoints + other.checkpoints,
            _sum(self.chunks, other.chunks),
            _sum(self.bytes, other.bytes),
        )


def _sum(one: int | None, other: int | None) -> int | None:
    return None if one is None or other is None else one + other


@dataclass(frozen=True, slots=True)
class ThreadProblem(Plain):
    """A thread of which nothing was removed, and why; ``thread_id`` is None if not even its name can be read."""

    thread_id: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class SpaceReport(Plain):
    """How much room a store takes, in bytes, and how much of that holds nothing; None where the store cannot tell.

    ``kind`` is ``disk`` or ``memory``. ``freed`` is how much less it takes than before, if it was compacted.
    """

    taken: int | None = None
    free: int | None = None
    kind: str = "disk"
    freed: int | None = None

    @classmethod
    def of(cls, space: Space, before: Space | None = None) -> SpaceReport:
        """Return it of what a store tells."""
        freed = None
        if before is not None and before.taken is not None and space.taken is not None:
            freed = max(0, before.taken - space.taken)
        return cls(space.taken, space.free, space.kind, freed)


@dataclass(frozen=True, slots=True)
class SweepReport(Plain):
    """What a sweep did, or with ``dry_run`` would do.

    ``looked_at`` counts the threads. ``planned`` is what was to go, ``done`` what went; ``idle`` is the part of either
    that is whole threads, gone by the policy's ``ttl``. ``kept_pinned`` and ``kept_waiting`` count the threads that
    stayed for that. ``damaged`` are threads that cannot be read, ``busy`` those that changed all the while, which the
    next sweep looks at. ``unfinished`` counts threads of copies, imports and forks that were never finished, which are
    in ``planned`` and ``done``, too. ``forgotten`` counts erased threads of which nothing is remembered any more.
    """

    dry_run: bool = False
    looked_at: int = 0
    planned: Amount = Amount()
    done: Amount = Amount()
    idle: Amount = Amount()
    kept_pinned: int = 0
    kept_waiting: int = 0
    damaged: tuple[ThreadProblem, ...] = ()
    busy: tuple[str, ...] = ()
    unfinished: int = 0
    forgotten: int = 0
    before: SpaceReport | None = None
    after: SpaceReport | None = None


@dataclass(frozen=True, slots=True)
class EraseReport(Plain):
    """What was erased, or with ``dry_run`` would be.

    ``threads`` counts those that were there, ``messages`` those of their message lists that could be read, ``bytes``
    the payload of all. ``remembered_until``: so long those who still write to such a thread are refused; None: nothing
    is remembered, and what comes late brings it back. ``damaged`` were erased, too, and are not in the numbers.
    ``notes`` say what is left to do elsewhere.
    """

    dry_run: bool = False
    threads: int = 0
    checkpoints: int = 0
    writes: int = 0
    chunks: int = 0
    messages: int = 0
    items: int = 0
    bytes: int = 0
    damaged: int = 0
    remembered_until: datetime | None = None
    notes: tuple[str, ...] = ()

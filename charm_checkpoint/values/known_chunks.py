"""What a saver knows of chunks, so that what is stored is not sent again and what was encoded is not encoded again.

All of it is remembered within the store's one budget of bytes (see `Budget`); what is forgotten costs time, and what
is remembered never decides what a value is. In `values.chunk_reader` is the one other memory: the chunks themselves.

==============================  ================  ==================================  =================================
what is remembered              where             for how long                        what voids it
==============================  ================  ==================================  =================================
of a thread: addresses that     `ThreadChunks`    while the budget allows, and while  a delete or a sweep of the
the store holds                                   a run that uses the thread lasts    thread, told by its counters;
                                                                                      `KnownChunks.forget`
of a checkpoint: each           `ThreadChunks`    as its thread; the 16 checkpoints   as its thread
channel's version, and the                        read or written last
address of its value
of a channel: the address of    `ThreadChunks`    as its thread                       as its thread; a later version
its latest value
of a namespace's checkpoints:   `ThreadChunks`    as its thread; the one read last    as its thread
each channel's version, and                       and the one written last, 256 in
where its value is                                all
of a thread: that its title     `KnownChunks`     while the budget allows             a delete of the thread, told by
is stored                                                                             its counter;
                                                                                      `KnownChunks.forget`
of a leaf: a fingerprint of     `KnownLeaves`     while the budget allows             nothing: an address stands for
its elements; of a manifest:                                                          one content, in every thread
its leaves
of a namespace, or a message    `ReadChunks`      while the budget allows             the next read; that the chunks
list: addresses whose chunks                                                          are forgotten, which costs the
are at hand                                                                           next read one more question
==============================  ================  ==================================  =================================

Fingerprints hold for this process alone: they are made of Python's own hashes, which differ from process to process.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any, NamedTuple
from weakref import WeakValueDictionary

from charm_checkpoint.contract import ThreadState
from charm_checkpoint.runtime.cache import ADDRESS, ENTRY, Budget, Cache
from charm_checkpoint.values.serde import Fingerprint

CHECKPOINTS = 16
"""Checkpoints of a thread that are remembered at once."""
THREAD, CHECKPOINT, CHANNEL = 1100, 500, 330
"""Bytes that each of these takes, about."""
KNOWN = ADDRESS + 50
"""Bytes that a known address takes in a set."""
PARENT, PLACE = 500, 160
"""Bytes that a checkpoint remembered for the next one takes, and each of its values, about."""
PARENTS = 256
"""Checkpoints of a thread that are remembered for the next one: two of a namespace, what was read and what written."""
SHARE = 4
"""A thread that takes more than this part of the budget keeps what its newest checkpoints need."""
HINTS = 256
"""Addresses told to a store, so that it does not send what is here."""


class Held(NamedTuple):
    """A channel's value that is in chunks: its version and address; what it weighs at most, and is stored as, about."""

    version: Any
    ref: bytes
    weight: int
    stored: int


Channels = Mapping[str, Held]
"""Channels and their values. Those that went inline are left out."""


class Parent(NamedTuple):
    """What is remembered of a checkpoint for the one that follows it: where each of its values is, and its version.

    A place is as in a record that was encoded or was decoded, of which ``inline`` are the values inside it.
    ``channels`` are those in chunks, ``counters`` those of delta channels, of its metadata.
    """

    id: str
    versions: Mapping[str, Any]
    places: Mapping[str, Any]
    channels: Channels
    counters: Mapping[str, Any]
    inline: bytes = b""

    @property
    def weight(self) -> int:
        """Return about how many bytes this takes."""
        return PARENT + PLACE * (len(self.places) + len(self.versions)) + len(self.inline)


# ---------------------------------------------------------------------------- threads


class ThreadChunks:
    """What one thread is known to hold, as long as its sweep counter stays ``sweeps``."""

    __slots__ = (
        "__weakref__",
        "_checkpoints",
        "_latest",
        "_parents",
        "_spared",
        "_weights",
        "addresses",
        "deletes",
        "sweeps",
    )

    def __init__(self, deletes: int, sweeps: int) -> None:
        self.deletes = deletes
        self.sweeps = sweeps
        self.addresses: set[bytes] = set()
        self._checkpoints: dict[tuple[str, str], Channels] = {}
        self._latest: dict[tuple[str, str], bytes] = {}
        self._parents: dict[tuple[str, bool], Parent] = {}
        self._weights: dict[tuple[str, str | bool], int] = {}
        self._spared = 0

    def channels(self, ns: str, id: str | None) -> Channels:
        """Return where a checkpoint's values went, nothing if it is not remembered."""
        return self._checkpoints.get((ns, id or ""), {})

    def latest(self, ns: str, channel: str) -> bytes | None:
        """Return where the latest value of a channel went."""
        return self._latest.get((ns, channel))

    def parent(self, ns: str, id: str) -> Parent | None:
        """Return what is remembered of a checkpoint for the one that follows it."""
        for was_put in (True, False):
            parent = self._parents.get((ns, was_put))
            if parent is not None and parent.id == id:
                return parent
        return None

    def keep(self, ns: str, addresses: Collection[bytes], parent: Parent, was_put: bool) -> None:
        """Remember a checkpoint that was read or put, and addresses that the thread holds."""
        if addresses or parent.channels:
            self.addresses.update(addresses)
            self._latest.update({(ns, name): held.ref for name, held in parent.channels.items()})
            _keep_last(self._checkpoints, (ns, parent.id), parent.channels, CHECKPOINTS, self._weights)
            self._weights[ns, parent.id] = CHECKPOINT + len(ns) + len(parent.id) + CHANNEL * len(parent.channels)
        _keep_last(self._parents, (ns, was_put), parent, PARENTS, self._weights)
        self._weights[ns, was_put] = parent.weight

    @property
    def weight(self) -> int:
        """Return about how many bytes this takes."""
        return THREAD + KNOWN * len(self.addresses) + sum(list(self._weights.values()))

    def shrink(self, limit: int, reached: Callable[[bytes], Iterable[bytes]]) -> None:
        """Come down below ``limit`` as far as going on from the newest checkpoints allows without sending all again."""
        if self.weight <= max(limit, 2 * self._spared):
            return
        newest = {ns: (ns, id) for ns, id in list(self._checkpoints)}
        self._checkpoints = {key: self._checkpoints[key] for key in newest.values()}
        kept: list[tuple[str, str | bool]] = [*self._checkpoints, *list(self._parents)]
        self._weights = {key: self._weights[key] for key in kept if key in self._weights}
        refs = {held.ref for channels in self._checkpoints.values() for held in channels.values()}
        self.addresses = refs.union(*map(reached, refs))
        self._spared = self.weight


def _keep_last(kept: dict[Any, Any], key: Any, value: Any, size: int, weights: dict[Any, int]) -> None:
    """Put what is newest last, and let what is oldest go; another thread may do so at the same time."""
    kept.pop(key, None)
    kept[key] = value
    for oldest in list(kept)[:-size] if len(kept) > size else ():
        kept.pop(oldest, None)
        weights.pop(oldest, None)


_NOTHING = ThreadChunks(-1, -1)


class KnownChunks:
    """Threads by name, the least used forgotten first; one that somebody holds is not forgotten."""

    def __init__(self, budget: Budget) -> None:
        self.leaves = KnownLeaves(budget)
        self._budget = budget
        self._threads: Cache[str, ThreadChunks] = Cache(budget, _thread_weight, any_weight=True)
        self._in_use: WeakValueDictionary[str, ThreadChunks] = WeakValueDictionary()
        self._titled: Cache[str, int] = Cache(budget, lambda thread, _: ENTRY + len(thread))

    def thread(self, thread: str) -> ThreadChunks | None:
        """Return what is remembered of a thread: while somebody holds it, it is not forgotten to make room."""
        known = self._threads.get(thread) or self._in_use.get(thread)
        return known if known is not None and known is not _NOTHING else None

    def keep(
        self,
        thread: str,
        state: ThreadState,
        ns: str,
        addresses: Collection[bytes],
        parent: Parent,
        known: ThreadChunks | None = None,
        *,
        was_put: bool = False,
    ) -> None:
        """Remember what a checkpoint holds under these counters: what was remembered under others is void.

        It is the ``parent`` of those to come, and was put or read. ``known`` is what was remembered until now, in case
        it has been forgotten meanwhile.
        """
        known = known or self.thread(thread)
        if known is None or (known.deletes, known.sweeps) != (state.deletes, state.sweeps):
            known = self._in_use[thread] = ThreadChunks(state.deletes, state.sweeps)
        before = _thread_weight(thread, known)
        known.keep(ns, addresses, parent, was_put)
        known.shrink(self._budget.limit // SHARE, self.leaves.reached)
        self._threads.put(thread, known, before)

    def has_parent(self, thread: str, state: ThreadState, ns: str, id: str) -> bool:
        """Tell whether a checkpoint is remembered under these counters, as one that others may follow."""
        known = self.thread(thread)
        if known is None or (known.deletes, known.sweeps) != (state.deletes, state.sweeps):
            return False
        return known.parent(ns, id) is not None

    def is_titled(self, thread: str, deletes: int) -> bool:
        """Tell whether a thread of this delete counter is known to have its title."""
        return self._titled.get(thread) == deletes

    def note_title(self, thread: str, deletes: int | None) -> None:
        """Remember under which delete counter a thread's title was stored, None if it may have none."""
        self._titled.put(thread, -1 if deletes is None else deletes)

    def forget(self, thread: str) -> None:
        """Forget a thread: it was changed from outside."""
        self._threads.put(thread, _NOTHING)
        self._in_use.pop(thread, None)
        self.note_title(thread, None)


def _thread_weight(thread: str, known: ThreadChunks) -> int:
    return ENTRY + len(thread) + known.weight


# ----------------------------------------------------------------------------- leaves


class Large(NamedTuple):
    """A large element of a leaf: its position there, its name, where it went, and its fingerprint if it is no tree.

    ``name`` finds it in a later version of its leaf: a dict's key is known again by its hash, a list's
    element by its position.
    """

    position: int
    name: int
    ref: bytes
    fingerprint: Fingerprint | None


class LeafFingerprint(NamedTuple):
    """How to know a leaf again: by the number of its elements, the first's hash, their keys, the small ones' values.

    ``weight`` and ``stored`` are of all that the leaf reaches: see limits.py.
    """

    size: int
    first: int
    keys: Fingerprint | None
    small: Fingerprint
    large: tuple[Large, ...]
    is_open: bool
    weight: int
    stored: int


class Tree(NamedTuple):
    """What a manifest holds: its leaves in order, and by name those open elements that are trees."""

    leaves: tuple[bytes, ...]
    open: dict[int, bytes]


LEAF = ENTRY + 330
REF = 8
NAMED = 150
"""Bytes that a leaf or a tree, a leaf in a tree, and a large or open element take while they are remembered."""


class KnownLeaves(Cache[bytes, "LeafFingerprint | Tree"]):
    """What leaves and manifests hold, by address."""

    __slots__ = ()

    def __init__(self, budget: Budget | None = None) -> None:
        super().__init__(budget or Budget(), _leaf_weight)

    def reached(self, ref: bytes) -> Iterator[bytes]:
        """Yield an address and those known to be reached from it, groups left out."""
        yield ref
        known = self.get(ref)
        if isinstance(known, Tree):
            for name in (*known.leaves, *known.open.values()):
                yield from self.reached(name)
        elif isinstance(known, LeafFingerprint):
            for item in known.large:
                yield from self.reached(item.ref)


def _leaf_weight(name: bytes, known: LeafFingerprint | Tree) -> int:
    if isinstance(known, LeafFingerprint):
        return LEAF + NAMED * len(known.large)
    return LEAF + REF * len(known.leaves) + NAMED * len(known.open)


# ------------------------------------------------------------------------------- reads


class ReadChunks:
    """Addresses of chunks that a reader had at hand when it last read a namespace, or with None a message list."""

    def __init__(self, budget: Budget) -> None:
        self._tops: Cache[tuple[str, str | None], tuple[bytes, ...]] = Cache(budget, _tops_weight)

    def tops(self, thread: str, ns: str | None) -> tuple[bytes, ...]:
        """Return addresses, few, that were at hand with all they reach."""
        return self._tops.get((thread, ns)) or ()

    def keep(self, thread: str, ns: str | None, addresses: Iterable[bytes]) -> None:
        """Remember what was read last; of many addresses, those that come first."""
        self._tops.put((thread, ns), tuple(list(dict.fromkeys(addresses))[:HINTS]))


def _tops_weight(key: tuple[str, str | None], tops: tuple[bytes, ...]) -> int:
    thread, ns = key
    return ENTRY + 250 + len(thread) + len(ns or "") + (ADDRESS + 8) * len(tops)

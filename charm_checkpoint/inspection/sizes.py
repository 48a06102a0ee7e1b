"""What takes how much room."""

from __future__ import annotations

from dataclasses import dataclass

from charm_checkpoint.plain import Plain


@dataclass(frozen=True, slots=True)
class KindSize(Plain):
    """What there is of one kind: ``checkpoints``, ``writes``, ``chunks``, ``messages`` or ``items``; bytes as stored.

    Of a whole store, ``checkpoints`` are weighed with their writes and chunks, and ``messages`` counts the histories.
    None is what the store cannot tell.
    """

    kind: str
    count: int | None = None
    size: int | None = None


@dataclass(frozen=True, slots=True)
class ThreadSize(Plain):
    """One thread: bytes as they are stored, and how many checkpoints."""

    thread_id: str
    size: int
    checkpoints: int = 0
    title: str | None = None


@dataclass(frozen=True, slots=True)
class ChannelSize(Plain):
    """One channel of a thread's head.

    ``size`` is bytes as they are stored: compressed, where that saves some; of a small value, which stands in the
    checkpoint's record, its share of that. ``growth`` is how many such bytes each of the last ``steps`` checkpoints
    added to it, on the average: what it holds that the one before did not. ``encoded`` is how many bytes the value is
    before it is compressed, to compare with `ValueSize`.
    """

    channel: str
    checkpoint_ns: str
    size: int
    growth: float = 0.0
    steps: int = 0
    encoded: int = 0


@dataclass(frozen=True, slots=True)
class ValueSize(Plain):
    """One value inside a channel of a thread's head: where it is, and the bytes it is encoded as, uncompressed.

    What is larger than others may be inside it: both are told then, the whole before its part. ``part`` is the way to
    what makes up most of it, None where nothing does.
    """

    path: str
    encoded: int
    checkpoint_ns: str = ""
    part: str | None = None


@dataclass(frozen=True, slots=True)
class SizeReport(Plain):
    """What takes how much room, of one thread or of the whole store: ``size`` is bytes as they are stored.

    ``threads`` are the largest, the largest first, and of a store alone; ``channels`` and ``values`` those of one
    thread. ``counted`` tells of how many threads the store knows the size, ``uncounted`` of how many it does not.
    """

    thread_id: str | None
    size: int
    kinds: tuple[KindSize, ...] = ()
    threads: tuple[ThreadSize, ...] = ()
    channels: tuple[ChannelSize, ...] = ()
    values: tuple[ValueSize, ...] = ()
    counted: int = 0
    uncounted: int = 0
    notes: tuple[str, ...] = ()

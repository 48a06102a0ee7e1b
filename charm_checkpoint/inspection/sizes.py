"""What takes how much room."""

from __future__ import annotations

from dataclasses import dataclass

from charm_checkpoint.plain import Plain


@dataclass(frozen=True, slots=True)
class KindSize(Plain):
    """What there is of one kind: ``checkpoints``, ``writes``, ``chunks``, ``messages`` or ``items``; bytes of payload.

    None is what the store cannot tell.
    """

    kind: str
    count: int | None = None
    size: int | None = None


@dataclass(frozen=True, slots=True)
class ThreadSize(Plain):
    """One thread: bytes of payload, and how many checkpoints."""

    thread_id: str
    size: int
    checkpoints: int = 0
    title: str | None = None


@dataclass(frozen=True, slots=True)
class ChannelSize(Plain):
    """One channel of a thread's head.

    ``size`` is the bytes that are stored of its value, as compressed as they are. ``growth`` is how many bytes each of
    the last ``steps`` checkpoints added to it, on the average: what it holds that the one before did not.
    """

    channel: str
    checkpoint_ns: str
    size: int
    growth: float = 0.0
    steps: int = 0


@dataclass(frozen=True, slots=True)
class ValueSize(Plain):
    """One value of a thread's head: where it is, and the bytes that it is encoded as."""

    path: str
    size: int
    checkpoint_ns: str = ""


@dataclass(frozen=True, slots=True)
class SizeReport(Plain):
    """What takes how much room, of one thread or of the whole store.

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

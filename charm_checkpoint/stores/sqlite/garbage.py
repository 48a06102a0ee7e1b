"""Which chunks of a thread nothing reaches any more, found out in pieces, and while others write; pure."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence

from charm_checkpoint.contract import ThreadState
from charm_checkpoint.stores.shared.mark_and_sweep import addresses


class Garbage:
    """What is known of a thread's chunks as it was in ``state``; ``waiting`` are those that are to go."""

    def __init__(self, thread: int, state: ThreadState) -> None:
        self.thread = thread
        self.state = state
        self.waiting: list[bytes] = []
        """Addresses: a key may be another chunk's by the time that one goes."""
        self.unknown: set[bytes] = set()
        """What is reached, and came after the chunks were looked at."""
        self._keys: dict[bytes, int] = {}
        self._refs: dict[bytes, bytes] = {}
        self._roots: set[bytes] = set()
        self._front: list[bytes] = []
        self._live: set[bytes] = set()

    def add(self, rows: Iterable[Sequence[object]]) -> None:
        """Take in chunks: key, address, what it names."""
        for key, address, refs in rows:
            assert isinstance(key, int) and isinstance(address, bytes) and isinstance(refs, bytes)
            self._keys[address] = key
            self._refs[address] = refs

    def begin(self, roots: Iterable[bytes]) -> None:
        """Take in roots; those that are known say nothing new."""
        new = set(roots) - self._roots
        self._roots |= new
        self._front += [address for joined in new for address in addresses(joined)]

    def follow(self, most: int = sys.maxsize) -> bool:
        """Go on from what is reached to what that names, so many chunks at most; tell whether there is more."""
        while self._front and most > 0:
            most -= 1
            address = self._front.pop()
            if address in self._live:
                continue
            self._live.add(address)
            if address in self._refs:
                self._front += addresses(self._refs[address])
            else:
                self.unknown.add(address)
        return bool(self._front)

    def learn(self, rows: Iterable[tuple[bytes, bytes]]) -> None:
        """Take in what chunks name that are reached, and go on from that."""
        for address, refs in rows:
            self._refs[address] = refs
            self._front += addresses(refs)

    def settle(self) -> None:
        """Have go what is not reached; what others reach later, they add."""
        self.waiting = sorted(self._keys.keys() - self._live, key=self._keys.__getitem__, reverse=True)
        self.unknown.clear()

    def take(self, most: int) -> list[bytes]:
        """Return the next that go, but for those that are reached by now."""
        taken: list[bytes] = []
        while self.waiting and len(taken) < most:
            one = self.waiting.pop()
            if one not in self._live:
                taken.append(one)
        return taken

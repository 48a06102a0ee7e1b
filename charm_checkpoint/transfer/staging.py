"""Names under which threads are put together in a target, where nobody takes them for threads yet."""

from __future__ import annotations

from functools import partial
from hashlib import blake2b

from charm_checkpoint.contract import ThreadState, tenant_of
from charm_checkpoint.saver.threads import COPYING, removed_staging
from charm_checkpoint.store import Store
from charm_checkpoint.transfer.hops import Hop, Moving

AT_ONCE = 4
"""Threads that are copied at once where a store is at the other end of a network."""
_HERE = ("sqlite", "file", "memory", "")
"""Stores of this machine: what is under way there at once takes turns."""


class Staging:
    """One such name in one store, and what is known of what is under it."""

    def __init__(self, target: Store, name: str) -> None:
        self.name = name
        self._target = target
        self._cleared: ThreadState | None = None  # nothing is under the name since
        self.is_used = False

    def empty(self) -> Moving[ThreadState]:
        """Have nothing be under the name, and return the thread's state."""
        if self._cleared is None:
            yield from self.clear()
        assert self._cleared is not None
        state, self._cleared = self._cleared, None
        return state

    def clear(self) -> Moving[None]:
        """Delete what is under the name."""
        self.is_used = True
        plan = partial(self._target.backend.delete_thread, self.name)
        self._cleared = yield Hop(self._target, plan, self.name, write=True)

    def remove(self) -> Moving[None]:
        """Leave no trace of the name, in stores that can."""
        self._cleared = None
        yield Hop(self._target, partial(removed_staging, self._target.backend, self.name), self.name, write=True)


def stagings(source: Store, target: Store, origin: str) -> list[Staging]:
    """Return as many as threads are to be copied at once; they are the same for a copy that is run again.

    ``origin`` names the source, so that copies from several may be made at once.
    """
    named = repr((origin, tenant_of(source.backend)))
    name = COPYING + blake2b(named.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
    more = 0 if source.system in _HERE and target.system in _HERE else AT_ONCE - 1
    return [Staging(target, name), *(Staging(target, f"{name}:{number}") for number in range(1, 1 + more))]

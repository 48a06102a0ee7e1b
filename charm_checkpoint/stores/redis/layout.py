"""The version of the layout of what a prefix and tenant hold, which tells older programs that they do not know it."""

from __future__ import annotations

import os

from charm_checkpoint.errors import SchemaMismatch, StoreCorrupt
from charm_checkpoint.plan import Plan
from charm_checkpoint.stores.redis.rows import Call, Calls, Command, Names

BATCHES = 2
"""The layout with batches of messages."""
ITEMS = 3
"""The layout with items, pins and erased threads."""
VERSION = 3
"""The highest layout that is known."""


class Layout:
    """Which version a store is marked with, as far as this process knows; ``key`` holds it."""

    def __init__(self, key: bytes) -> None:
        self.key = key
        self._marked = 0

    def check(self, stored: bytes | None, where: str) -> None:
        """Take in what the store is marked with; raises `SchemaMismatch` if it is a layout that is not known."""
        if not (stored or b"1").isdigit():
            raise StoreCorrupt(f"The layout's version is {stored!r}, which is no number; is it another program's key?")
        self._marked = int(stored or 1)
        if self._marked > VERSION:
            raise SchemaMismatch(
                f"What {where} holds has the layout of version {self._marked}; this charm_checkpoint knows up "
                f"to {VERSION}. Upgrade charm_checkpoint on this machine: pip install -U charm-checkpoint."
            )

    def need(self, version: int) -> Plan[None]:
        """Mark the store, before the first thing is stored in it that versions below do not know."""
        if self._marked < version:
            yield self.mark(version)
            self._marked = version

    def mark(self, version: int = 0) -> Call:
        """Return the call that marks the store with a version, or with what it was marked with as far as is known."""
        return Call("mark", (self.key,), (max(version, self._marked),), write=True)


def know_again(names: Names, layout: Layout) -> Plan[None]:
    """See that the secret is the store's and the mark there: both are lost with all else where somebody empties it.

    Who still knew them brings them back, unless somebody made another secret since.
    """
    secret = Call("secret", (names.version(),), (names.secret or os.urandom(16),), write=True)
    [held, _] = yield Calls([secret, layout.mark()])
    if isinstance(held, StoreCorrupt):
        raise held
    names.learn(held)


def know_secret(names: Names, *, make: bool = False) -> Plan[None]:
    """See that the names of what is kept of erased threads can be made; ``make``: that the store has its secret.

    One that nobody has written to yet has none, and then nothing is kept.
    """
    if names.secret is None:
        key = names.version()
        if make:
            names.learn((yield Call("secret", (key,), (os.urandom(16),), write=True)))
        else:
            names.learn((yield Command(("HGET", key, "secret"))))

"""Copies a store to another one, and is killed before its nth hop: ``copies.py SOURCE TARGET N``, 0 for never."""

from __future__ import annotations

import os
import signal
import sys

from charm_checkpoint import open_memory
from charm_checkpoint.transfer import hops
from charm_checkpoint.transfer.hops import Hop, Moving, T, run


def drive(moving: Moving[T]) -> T:
    """Make hops as `hops.drive` does, till the end of this process."""
    left = int(sys.argv[3])

    def make(hop: Hop) -> object:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return hop.store.run(hop.make, write=hop.write, thread=hop.thread)

    return run(moving, make)


hops.drive = drive
with open_memory(sys.argv[1]) as memory:
    sys.stdout.write(repr(memory.copy_to(sys.argv[2]).complaints()))
